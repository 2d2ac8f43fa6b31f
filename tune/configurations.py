"""What is searched: the settings that change an engine's speed, and which of them this machine has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch

from asr.config import EngineConfig
from asr.engines.device import cpu_has_bfloat16, cpu_threads, placement
from asr.engines.loading import is_torch_best, onnxruntime_numbers

CPU_BATCHES = (1, 4, 8)
GPU_BATCHES = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of the search."""

    backend: str
    numbers: str  # number format: of the weights for weights_int8, else of all
    threads: int
    batch: int  # windows in one forward pass at most
    full_windows: bool = True
    spinning: str = "auto"

    def settings(self) -> dict[str, Any]:
        """The settings of asr.config.EngineConfig."""
        format_key = "precision" if self.backend == "torch" else "compute_type"
        found: dict[str, Any] = {
            "backend": self.backend,
            format_key: self.numbers,
            "threads": self.threads,
            "max_batch_size": self.batch,
            "full_windows": self.full_windows,
        }
        return found if self.backend != "onnxruntime" else {**found, "spinning": self.spinning}

    def __str__(self) -> str:
        windows = "30 s windows" if self.full_windows else "short windows"
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        asleep = ", no spinning" if self.spinning == "never" else ""
        return f"{self.backend} {self.numbers}, {windows}, batch {self.batch}, {threads}{asleep}"


Axis = Callable[[Configuration], Sequence[Configuration]]


@dataclass(frozen=True, slots=True)
class Space:
    """All configurations of one machine and one device."""

    formats: tuple[tuple[str, str], ...]  # (backend, numbers)
    threads: int  # all cores
    batches: tuple[int, ...]  # ascending
    today: Configuration  # what `backend: auto` takes without a file

    @property
    def reference(self) -> Configuration:
        """Whose words the others must write."""
        return Configuration("torch", "float32", self.threads, self.batches[-1])

    def first_round(self) -> list[Configuration]:
        """Every format with long and short windows, in the largest batch."""
        return [
            Configuration(backend, numbers, self.threads, self.batches[-1], full_windows=is_full)
            for is_full in (True, False)
            for backend, numbers in self.formats
        ]

    def one_by_one(self, configuration: Configuration) -> Configuration:
        return replace(configuration, batch=self.batches[0])

    def axes(self) -> dict[str, Axis]:
        """Name → the neighbours of a configuration along that axis, itself left out."""
        halves = {self.threads, max(1, self.threads // 2)}
        return {
            "batch": lambda c: [replace(c, batch=n) for n in self.batches if n != c.batch],
            "threads": lambda c: [replace(c, threads=n) for n in sorted(halves) if n != c.threads],
            "spinning": lambda c: (
                [replace(c, spinning="auto" if c.spinning == "never" else "never")]
                if c.backend == "onnxruntime"
                else []
            ),
        }


def space_of(model: str, device: str) -> Space:
    """What can be searched here; raises ConfigError for a device that is not there."""
    config = EngineConfig(model=model, device=device)
    place = placement(config, None)
    threads, batches = cpu_threads(config), GPU_BATCHES if place.is_cuda else CPU_BATCHES
    today = ("torch", str(place.dtype).removeprefix("torch."))
    if not is_torch_best(config, None):
        today = ("onnxruntime", onnxruntime_numbers(config))
    return Space(
        formats=tuple(_formats(place.device)),
        threads=threads,
        batches=batches,
        today=Configuration(*today, threads, batches[-1], full_windows=config.full_windows),
    )


def _formats(device: torch.device) -> list[tuple[str, str]]:
    """(backend, number format) of what is installed and the device has."""
    is_cuda = device.type == "cuda"
    found = [("torch", "float32")]
    if is_cuda:
        found.append(("torch", "float16"))
    if is_cuda or cpu_has_bfloat16():
        found.append(("torch", "bfloat16"))
    if not is_cuda or _onnxruntime_has_cuda():
        found += [("onnxruntime", "float32"), ("onnxruntime", "weights_int8")]
    if find_spec("ctranslate2") is not None:
        found.append(("ctranslate2", "float16" if is_cuda else "int8"))
    return found


def _onnxruntime_has_cuda() -> bool:
    from asr.audio.onnx_runtime import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
