"""The loop guard stops hopeless rows and no others."""

from __future__ import annotations

import pytest

from asr.engines.decoding.loop_guard import is_loop
from asr.text.guards import compression_ratio
from asr.text.tokenizer import tokenizer_for
from tests.asr.checkpoints import dims, random_audio, random_model, save_checkpoint
from tests.asr.engines.conftest import make_engine
from tests.asr.engines.reference import window

TOKENIZER = tokenizer_for(True, 99)
LIMIT = 2.4
PHRASE = TOKENIZER.encode(" Thank you for watching.")
PROSE = TOKENIZER.encode(
    " It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of"
    " foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light,"
    " it was the season of Darkness, it was the spring of hope, it was the winter of despair, we had"
    " everything before us, we had nothing before us, we were all going direct to Heaven."
)


def test_a_long_loop_is_stopped():
    assert is_loop(PHRASE * 32, 224 - 32 * len(PHRASE), TOKENIZER, LIMIT)


def test_timestamps_do_not_hide_a_loop():
    begin = TOKENIZER.timestamp_begin
    tokens = [t for i in range(28) for t in (begin + 50 * i, *PHRASE, begin + 50 * i + 40)]
    assert is_loop(tokens[:192], 32, TOKENIZER, LIMIT)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_short_loop_may_still_end_well(count):
    assert not is_loop(PHRASE * count, 224 - count * len(PHRASE), TOKENIZER, LIMIT)


def test_speech_with_figures_of_repetition_is_not_stopped():
    for length in range(1, len(PROSE)):
        assert not is_loop(PROSE[:length], 224 - length, TOKENIZER, LIMIT)


@pytest.mark.parametrize("sampled", range(16, 224, 16))
@pytest.mark.parametrize("lead", [0, 20, 60])
@pytest.mark.parametrize("limit", [1.8, LIMIT, 6.0])
def test_it_only_fires_where_the_compression_rule_will(sampled, lead, limit):
    """Whatever text follows until the cap, the ratio stays above the request's threshold."""
    tokens = (PROSE[:lead] + PHRASE * 60)[:sampled]
    if is_loop(tokens, 224 - sampled, TOKENIZER, limit):
        rest = PROSE[60 : 60 + 224 - sampled]
        for unit in ("bytes", "auto"):
            assert compression_ratio(TOKENIZER.decode(tokens + rest).strip(), unit) > limit


def test_a_looping_row_is_marked(tmp_path):
    """A decoder whose attention and MLPs add nothing repeats its favourite token."""
    model = random_model(dims(), 1, 0.1)
    for name, parameter in model.decoder.named_parameters():
        if "blocks" in name or "positional" in name:
            parameter.data.zero_()
    [token] = TOKENIZER.encode(" hello")
    model.decoder.ln.bias.data = 3 * model.decoder.token_embedding.weight.data[token]
    path = save_checkpoint(model, tmp_path / "loop.pt")

    free_piece, guarded_piece = (
        window(random_audio(30, 1), language="en", without_timestamps=True, loop_limit=limit)
        for limit in (None, LIMIT)
    )
    engine = make_engine(path, loop_guard=True)
    free, guarded = engine.decode([free_piece, guarded_piece])  # side by side: the limit is the window's
    [off] = make_engine(path, loop_guard=False).decode([guarded_piece])
    assert off.tokens == free.tokens
    assert (free.truncated, free.looped, len(free.tokens)) == (True, False, 224)
    assert (guarded.truncated, guarded.looped) == (False, True)
    assert len(guarded.tokens) < 224
    assert guarded.tokens == free.tokens[: len(guarded.tokens)]
    assert set(guarded.tokens[1:]) == {token}
