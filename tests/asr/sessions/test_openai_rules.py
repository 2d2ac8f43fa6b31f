"""Rules of openai-whisper that differ by a rounding or a few samples when they are written anew."""

from __future__ import annotations

import numpy as np
import pytest
import whisper

from asr.constants import WINDOW_FRAMES
from asr.engines.checkpoints.dimensions import ModelDims
from asr.engines.decoding.plan import plan
from asr.request.options import RequestOptions
from asr.schema import DecodingOptions, Window
from asr.sessions.prompting import RollingPrompt
from tests.asr.asked import asked
from tests.asr.opened import sequential
from tests.asr.scripted import SPEC, TOKENIZER

DIMS = ModelDims(
    n_mels=80, n_audio_ctx=1500, n_audio_state=8, n_audio_head=1, n_audio_layer=1,
    n_vocab=51_865, n_text_ctx=448, n_text_state=8, n_text_head=1, n_text_layer=1,
)  # fmt: skip


def test_the_first_timestamp_is_rounded_as_openai_whisper_rounds_it() -> None:
    precision = 30 / 1500  # whisper/decoding.py: CHUNK_LENGTH / model.dims.n_audio_ctx
    samples = np.zeros(160, np.int16)
    for milliseconds in [*range(1, 2_000), *range(2_000, 30_000, 7), 470, 590, 1_090]:
        seconds = milliseconds / 1000
        window = Window(samples, 1, DecodingOptions(max_initial_timestamp_s=seconds))
        limit = plan(window, "en", DIMS, TOKENIZER).max_initial_timestamp
        assert limit == round(seconds / precision), seconds


@pytest.mark.parametrize("seconds", [3, 29.99, 30.0, 30.01, 45])
def test_the_language_is_heard_in_the_window_that_openai_whisper_hears(seconds: float) -> None:
    """In noise the 40 samples behind the thirtieth second count."""
    count = round(seconds * 16_000)
    samples = np.random.default_rng(3).integers(-20_000, 20_000, count).astype(np.int16)
    session = sequential(samples, RequestOptions(), SPEC)
    [offer] = session.offers()
    window = offer.window
    mel = whisper.log_mel_spectrogram(samples.astype(np.float32) / 32_768, padding=480_000)
    theirs = whisper.pad_or_trim(mel, WINDOW_FRAMES).numpy()

    from asr.engines.features import LogMel

    ours = LogMel(80, whisper.torch.device("cpu"))([window])[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_hotwords_stay_and_the_prompt_scrolls_away() -> None:
    hotwords, prompt = (1, 2), tuple(range(100, 110))
    rolling = RollingPrompt(hotwords, prompt, n_text_ctx=32)  # 15 tokens of previous text
    assert rolling.tokens() == hotwords + prompt
    rolling.extend(tuple(range(200, 210)))
    assert rolling.tokens() == (*hotwords, *range(107, 110), *range(200, 210))
    rolling.extend(tuple(range(300, 320)))
    assert rolling.tokens() == (*hotwords, *range(307, 320))
    rolling.reset()
    assert rolling.tokens() == hotwords


def test_hotwords_do_not_carry_the_prompt() -> None:
    options = asked(language="en", prompt="Kyoto", hotwords=("Lagos",))
    session = sequential(np.zeros(70 * 16_000, np.int16), options, SPEC)
    assert session._prompt.tokens() == tuple(TOKENIZER.encode(" Lagos") + TOKENIZER.encode(" Kyoto"))
    session._prompt.reset()
    assert session._prompt.tokens() == tuple(TOKENIZER.encode(" Lagos"))
