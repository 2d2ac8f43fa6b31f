"""Token times equal upstream's find_alignment."""

from __future__ import annotations

import numpy as np
import pytest
from whisper.timing import find_alignment
from whisper.tokenizer import get_tokenizer

from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.text.slicing import kept_text_tokens
from tests.asr import checkpoints
from tests.asr.checkpoints import random_audio
from tests.asr.engines import reference
from tests.asr.engines.reference import window

pytestmark = pytest.mark.slow

OPTIONS = [
    {"language": "en"},
    {"language": "hi", "prompt": (50, 60)},
    {"language": "zh", "task": "translate"},
    {"language": "en", "without_timestamps": True},
    {"language": "de", "beam_size": 3},
]


def their_alignment(pair, piece, text_tokens, language):
    tokenizer = get_tokenizer(
        pair.reference.is_multilingual,
        num_languages=pair.reference.num_languages,
        language=language,
        task=piece.options.task,
    )
    mel = reference.segment(piece.samples, piece.num_frames, pair.reference.dims.n_mels)
    return find_alignment(pair.reference, tokenizer, list(text_tokens), mel, piece.num_frames)


def assert_aligned(pair, ours, piece):
    tokenizer = pair.engine.model.tokenizer
    text = kept_text_tokens(ours.tokens, tokenizer.timestamp_begin, tokenizer.eot)
    alignment = ours.alignment
    assert alignment.tokens == text
    assert len(alignment.starts) == len(text) + 1
    assert list(alignment.starts) == sorted(alignment.starts)
    theirs = their_alignment(pair, piece, text, ours.language)
    at = 0
    for timing in theirs:
        end = at + len(timing.tokens)
        assert alignment.starts[at] / 50 == pytest.approx(timing.start)
        assert alignment.starts[end] / 50 == pytest.approx(timing.end)
        assert np.mean(alignment.probs[at:end]) == pytest.approx(timing.probability, abs=1e-5)
        at = end
    assert at == len(text)


def test_batch(multilingual):
    pieces = [
        window(random_audio(4 + 6 * index, 40 + index), word_timestamps=True, **options)
        for index, options in enumerate(OPTIONS)
    ]
    outcomes = multilingual.engine.decode(pieces)
    assert sum(len(ours.alignment.tokens) for ours in outcomes) > 10
    for ours, piece in zip(outcomes, pieces, strict=True):
        assert_aligned(multilingual, ours, piece)


def test_english_only(english_only):
    pieces = [window(random_audio(12, seed), language="en", word_timestamps=True) for seed in range(2)]
    for ours, piece in zip(english_only.engine.decode(pieces), pieces, strict=True):
        assert_aligned(english_only, ours, piece)


def test_aligning_changes_no_token(multilingual):
    pieces = [
        window(random_audio(5, seed), language="en", word_timestamps=bool(seed % 2)) for seed in range(4)
    ]
    plain = [window(random_audio(5, seed), language="en") for seed in range(4)]
    aligned, bare = multilingual.engine.decode(pieces), multilingual.engine.decode(plain)
    assert [ours.tokens for ours in aligned] == [ours.tokens for ours in bare]
    assert [ours.alignment is not None for ours in aligned] == [False, True, False, True]


def test_no_text_no_times(multilingual):
    piece = window(random_audio(5, 1), language="en", word_timestamps=True, max_tokens=1)
    [ours] = multilingual.engine.decode([piece])
    assert len(ours.tokens) == 1  # a timestamp
    assert (ours.alignment.tokens, ours.alignment.starts, ours.alignment.probs) == ((), (0,), ())


def test_heads_of_the_file(tmp_path):
    model = checkpoints.random_model(checkpoints.dims(layers=4, heads=2))
    path = checkpoints.save_checkpoint(model, tmp_path / "m.pt")
    assert load_checkpoint(str(path)).alignment_heads == ((2, 0), (2, 1), (3, 0), (3, 1))


def test_heads_of_openais_models(tmp_path):
    """A file with the name and the sizes of an official model is aligned with that model's heads."""
    model = checkpoints.random_model(checkpoints.dims(layers=4, heads=6, state=96))
    path = checkpoints.save_checkpoint(model, tmp_path / "tiny.pt")
    from whisper import _ALIGNMENT_HEADS

    model.set_alignment_heads(_ALIGNMENT_HEADS["tiny"])
    theirs = model.alignment_heads.coalesce().indices().T.tolist()
    assert [list(head) for head in load_checkpoint(str(path)).alignment_heads] == theirs


def test_many_heads_are_aligned_in_parts(multilingual, monkeypatch):
    pieces = [window(random_audio(5, seed), language="en", word_timestamps=True) for seed in range(4)]
    together = [ours.alignment for ours in multilingual.engine.decode(pieces)]
    monkeypatch.setattr("asr.engines.decoding.alignment.MAX_SCORE_BYTES", 1)
    apart = [ours.alignment for ours in multilingual.engine.decode(pieces)]
    assert [alignment.starts for alignment in apart] == [alignment.starts for alignment in together]
    assert any(alignment.tokens for alignment in apart)
