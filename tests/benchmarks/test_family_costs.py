"""What models of other families cost, by a streaming transducer of a few kB."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.audio import media
from asr.config import Limits
from benchmarks.family_costs import cost, table
from tests.asr.sherpa_folders import write_transducer

pytest.importorskip("sherpa_onnx")
SPEECH = Path(__file__).resolve().parents[2] / "samples" / "librispeech.flac"


def test_a_stream_is_looked_at_four_times_a_second(tmp_path: Path) -> None:
    audio = media.decode(SPEECH.read_bytes(), Limits())
    found = cost("toy", str(write_transducer(tmp_path / "live")), [audio], num_streams=1)
    assert 3 < found.looks_per_s < 4, "steps of 0.1 s, so that a look each 0.25 s comes after 0.3"
    assert 0 < found.per_file_s < found.per_window
    assert table([found]).splitlines()[2].startswith("| toy | cpu sherpa-onnx float32 | 0.0")
