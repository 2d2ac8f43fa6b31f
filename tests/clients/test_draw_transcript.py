from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.asr.containers import tone, wav

pytest.importorskip("matplotlib", reason="pictures are an extra: pip install matplotlib")

import draw_transcript


def test_the_outline_follows_the_recording() -> None:
    silence_then_tone = np.concatenate([np.zeros(16_000), tone(1.0)])
    seconds, loudness = draw_transcript.outline(wav(silence_then_tone))
    assert seconds[-1] == pytest.approx(2.0, abs=0.02)
    assert loudness[seconds < 0.9].max() < 0.05
    assert loudness[(seconds > 1.1) & (seconds < 1.9)].max() > 0.9


def test_a_picture_is_written(tmp_path: Path) -> None:
    transcript = {
        "duration": 1.0,
        "segments": [{"start": 0.1, "end": 0.9, "text": " hello"}],
        "words": [{"word": "hello", "start": 0.1, "end": 0.9}],
    }
    draw_transcript.draw(wav(tone(1.0)), transcript, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
