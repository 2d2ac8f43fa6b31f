"""Whether the models fit into memory together, before any of them loads.

Each worker checks its own model at load, yet workers that load side by side all see the same free memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.serve.serve_error import ServeError
from scripts.serve.served_models import Served

GB = 1e9
MB = 1_000_000
NEEDS_S = 120.0  # torch is imported, and the sizes of every checkpoint are read
ADVICE = (
    "serve fewer models or smaller ones, lower `batch_size` or `workers` in config/models.yaml, or let some "
    "load with their first request (`load: on_demand`)"
)


@dataclass(frozen=True, slots=True)
class Need:
    """What one model takes in memory, all its workers together: bytes by device, "cpu" or "cuda"."""

    name: str
    by_device: Mapping[str, int]
    workers: int
    is_on_demand: bool

    def on(self, device: str) -> int:
        return self.by_device.get(device, 0)


@dataclass(frozen=True, slots=True)
class Memory:
    """The needs of the models, and what is free."""

    needs: Sequence[Need]
    free: Mapping[str, int]

    @property
    def for_on_demand(self) -> dict[str, int]:
        """What is left by device when the models that load at start are there; only where one is on demand.

        Raises ServeError when they do not fit together, or a model on demand does not fit beside them.
        """
        left = {device: self._left(device) for device in self.free}
        for need in self._on_demand:
            for device, free in left.items():
                if need.on(device) > free:
                    raise ServeError(
                        f"{need.name} loads on demand and needs {_gb(need.on(device))} of {_called(device)}; "
                        f"{_gb(free)} are left beside the models that load at start: {ADVICE}"
                    )
        return left if self._on_demand else {}

    @property
    def _on_demand(self) -> list[Need]:
        return [need for need in self.needs if need.is_on_demand]

    def _left(self, device: str) -> int:
        resident = [need for need in self.needs if not need.is_on_demand and need.on(device)]
        left = self.free[device] - sum(need.on(device) for need in resident)
        if left < 0:
            listed = ", ".join(f"{need.name} {_share(need, device)}" for need in resident)
            total = self.free[device] - left
            raise ServeError(
                f"the models need {_gb(total)} of {_called(device)} together, {_gb(self.free[device])} are "
                f"free: {listed}. Nothing was loaded: {ADVICE}"
            )
        return left


def memory_of(served: Sequence[Served], configs: Mapping[str, Mapping[str, Any]], root: Path) -> Memory:
    """The memory of these models; nothing is known of those that cannot be read.

    configs: each model's model-config.yaml, weights in place.
    """
    sections = {name: config["handler"] for name, config in configs.items()}
    program = [sys.executable, "-m", "scripts.serve.memory_needs"]
    try:
        answer = subprocess.run(
            program, input=json.dumps(sections), capture_output=True, text=True, cwd=root, timeout=NEEDS_S
        )
    except subprocess.TimeoutExpired as error:
        raise ServeError(f"the sizes of the checkpoints could not be read within {NEEDS_S:.0f} s") from error
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"]
        raise ServeError(f"what the models need in memory could not be worked out: {lines[-1]}")
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    needs = []
    for each in served:
        if each.name in found["needs"]:
            workers = int(configs[each.name]["minWorkers"])
            by_device = {device: size * workers for device, size in found["needs"][each.name].items()}
            needs.append(Need(each.name, by_device, workers, each.is_on_demand))
    return Memory(tuple(needs), found["free"])


def in_mb(sizes: Mapping[str, int]) -> dict[str, int]:
    """Whole megabytes by device."""
    return {device: -(-size // MB) for device, size in sizes.items()}


def _share(need: Need, device: str) -> str:
    """One model's part of the sum: "2 x 1.2 GB"."""
    each = _gb(need.on(device) // need.workers)
    return f"{need.workers} x {each}" if need.workers > 1 else each


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB"


def _called(device: str) -> str:
    return "memory" if device == "cpu" else "GPU memory"
