"""The copied table is openai-whisper's, and a worker on ONNX Runtime needs no numba."""

from __future__ import annotations

import subprocess
import sys

from whisper import _ALIGNMENT_HEADS

from asr.engines.checkpoints.openai_heads import DUMPS, known_heads


def test_the_table_is_openai_whispers() -> None:
    assert DUMPS == _ALIGNMENT_HEADS
    assert known_heads("base", 6, 8) == ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6))
    assert known_heads("base", 4, 6) is None
    assert known_heads("mine", 6, 8) is None


def test_an_engine_without_torchs_decoder_needs_no_numba() -> None:
    program = "import sys, asr.engines.ort.ort_engine; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
