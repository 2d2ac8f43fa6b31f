"""The picture of a recording and its transcript."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.asr.containers import tone

pytest.importorskip("matplotlib", reason="pictures are an extra: pip install matplotlib")

import draw_transcript


def test_the_log_mel_picture_follows_the_recording() -> None:
    silence_then_tone = np.concatenate([np.zeros(16_000), tone(1.0)]).astype(np.float32)
    mel = draw_transcript.log_mel(silence_then_tone)
    assert mel.shape == (draw_transcript.N_MELS, 201)
    assert mel.max() == 0 and mel[:, :95].max() < -60 and mel[:, 105:195].max(axis=0).min() > -25


def test_a_picture_is_written(tmp_path: Path) -> None:
    transcript = {
        "duration": 1.0,
        "segments": [{"start": 0.1, "end": 0.9, "text": " hello"}],
        "words": [{"word": "hello", "start": 0.1, "end": 0.9}],
    }
    samples = tone(1.0).astype(np.float32)
    draw_transcript.draw(samples, transcript, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
