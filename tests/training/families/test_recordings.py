"""Held-out sentences as recordings: what score.py reads is what was said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.evaluate import Clip
from whisper_client.references import read_references

pytest.importorskip("sherpa_onnx")
from training.families.recordings import write_recordings


def test_recordings_are_a_data_directory_of_the_clients(tmp_path: Path) -> None:
    spoken = ((("नमस्ते", 0.0, 0.5), ("दुनिया", 0.5, 1.0)), (("एक", 1.5, 1.75),))
    clips = [Clip(np.full(length, 2.0, np.float32), "hi", "voice", spoken) for length in (32_000, 8_000)]
    write_recordings(tmp_path / "hi", clips, "hi")
    first, second = read_references(tmp_path / "hi")
    assert (first.name, first.text, first.language) == ("hi-000", "नमस्ते दुनिया एक", "hi")
    assert (first.seconds, second.seconds) == (2.0, 0.5)
    samples, rate = soundfile.read(first.audio, dtype="int16")
    assert rate == 16_000 and len(samples) == 32_000
    assert samples.min() == 32_767, "too loud is cut, not wrapped"
