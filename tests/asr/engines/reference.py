"""openai-whisper's answer to a Window, for comparison."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import whisper
from whisper.decoding import DecodingResult
from whisper.model import Whisper

from asr.constants import WINDOW_FRAMES
from asr.schema import DecodingOptions, Hypothesis, Samples, Window


def window(samples: Samples, **options: object) -> Window:
    """A window that is an utterance of its own."""
    frames = min(WINDOW_FRAMES, len(samples) // 160)
    return Window(samples[: 160 * frames + 200], frames, DecodingOptions(**options))


def segment(samples: Samples, num_frames: int, n_mels: int) -> torch.Tensor:
    """Mel segment of an utterance's start, cut and padded as transcribe() does."""
    mel = whisper.log_mel_spectrogram(samples.astype(np.float32) / 32_768, n_mels, padding=480_000)
    return whisper.pad_or_trim(mel[:, :num_frames], WINDOW_FRAMES)


def decode(model: Whisper, piece: Window) -> DecodingResult:
    """whisper.decode of a window made by `window`, with its options."""
    ours = piece.options
    theirs = whisper.DecodingOptions(
        task=ours.task,
        language=ours.language,
        temperature=ours.temperature,
        sample_len=ours.max_tokens,
        best_of=ours.best_of,
        beam_size=ours.beam_size,
        patience=ours.patience,
        length_penalty=ours.length_penalty,
        prompt=list(ours.prompt),
        prefix=list(ours.prefix),
        suppress_tokens=list(ours.suppress_tokens),
        suppress_blank=ours.suppress_blank,
        without_timestamps=ours.without_timestamps,
        max_initial_timestamp=ours.max_initial_timestamp_s,
        fp16=False,
    )
    return model.decode(segment(piece.samples, piece.num_frames, model.dims.n_mels), theirs)


def assert_equal(ours: Hypothesis, theirs: DecodingResult) -> None:
    assert isinstance(ours, Hypothesis), ours
    assert list(ours.tokens) == theirs.tokens
    assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-4)
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-4)
    assert ours.language == theirs.language
    assert ours.temperature == theirs.temperature
