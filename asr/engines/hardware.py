"""What a measured speed depends on: the processor or GPU, its cores and instructions."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from asr.config import EngineConfig
from asr.engines.device import cpu_threads

# of all flags those that the backends have kernels for
TELLING_FLAGS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_int8", "asimddp", "bf16", "i8mm", "sve"),
)
# variables that make torch and CTranslate2 use less than the processor has
HOLDS_DOWN = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "CT2_FORCE_CPU_ISA")


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine's; two with equal values are as fast as each other."""

    name: str  # as lscpu says; of a GPU the driver's
    model: str  # "6/207", family and model: clouds give many processors one name
    cores: int  # that this process may use
    flags: str
    held_down: str = ""  # "ATEN_CPU_CAPABILITY=avx2 …"

    def as_table(self) -> dict[str, Any]:
        return asdict(self)


def hardware(device: torch.device) -> Hardware:
    """This machine's, for work on `device`."""
    cpu = _cpuinfo()
    words = (cpu.get("flags") or cpu.get("Features") or "").split()
    name = cpu.get("model name") or platform.processor() or platform.machine()
    model = f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}"
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}, {name}"
    return Hardware(
        name=name,
        model=model,
        cores=cpu_threads(EngineConfig(model="")),
        flags=" ".join(flag for flag in TELLING_FLAGS if flag in words),
        held_down=" ".join(f"{key}={os.environ[key]}" for key in HOLDS_DOWN if os.environ.get(key)),
    )


def _cpuinfo(path: str = "/proc/cpuinfo") -> dict[str, str]:
    """The first processor's entries; empty where there is no such file."""
    try:
        first = Path(path).read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
