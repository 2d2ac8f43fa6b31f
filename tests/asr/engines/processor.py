"""What a test needs of the processor; ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 makes an older one."""

from __future__ import annotations

import pytest

from asr.engines.device import cpu_multiplies_bfloat16

needs_bfloat16 = pytest.mark.skipif(
    not cpu_multiplies_bfloat16(), reason="needs a processor with AVX-512 or AMX, for products of bfloat16"
)
PRECISIONS = ["float32", pytest.param("bfloat16", marks=needs_bfloat16)]
