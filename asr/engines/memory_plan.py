"""What a configuration needs in memory, by arithmetic, before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch

from asr.config import ConfigError
from asr.constants import MAX_GROUP, WINDOW_FRAMES
from asr.engines.checkpoints.dimensions import ModelDims, expected_shapes
from asr.engines.device import Placement

MIB = 1 << 20
FLOAT32_BYTES = 4
# of a recorded step, in the driver and in the graphs' pool: a guess, not measured
STEP_GRAPH_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by purpose for one batch of `batch_size` windows and `rows` rows."""

    batch_size: int
    rows: int  # what a batch holds at most, with beams and samples: see `least_rows`
    weights: int
    features: int  # spectrum and log-Mel
    encoder: int  # activations of one layer, the largest ones alive together
    cross_cache: int
    self_cache: int
    logits: int
    step_graphs: int = 0  # recorded steps; they hold both caches for ever

    @property
    def per_batch(self) -> int:
        return self.with_windows(self.batch_size)

    def with_windows(self, windows: int) -> int:
        """Bytes beside the weights where the largest batch has `windows`, at most `batch_size`."""
        cross = self.cross_cache * windows // self.batch_size
        own, logits = (size * least_rows(windows) // self.rows for size in (self.self_cache, self.logits))
        if self.step_graphs:
            return cross + own + self.step_graphs + max(self.features, self.encoder, logits)
        # features and encoder activations are gone before decoding begins
        return cross + max(self.features, self.encoder, own + logits)

    @property
    def total(self) -> int:
        return self.weights + self.per_batch

    def __str__(self) -> str:
        parts = ("weights", "features", "encoder", "cross_cache", "self_cache", "logits", "step_graphs")
        listed = ", ".join(f"{part} {getattr(self, part) / MIB:.0f}" for part in parts if getattr(self, part))
        return f"{self.total / MIB:.0f} MiB for batches of {self.batch_size} ({listed} MiB)"


def least_rows(max_batch_size: int) -> int:
    """Rows that a batch may have wherever the model runs: one for each window, or one window of any group."""
    return max(max_batch_size, MAX_GROUP)


def most_rows(plan: MemoryPlan, available: int, placement: Placement, *, deterministic: bool) -> int:
    """Rows that a batch may have where `available` bytes are free, the plan's at least.

    More of them cost a GPU hardly a longer step, and where its memory runs out after all, that is an error
    which halves the batch. A CPU gains little, and the kernel would end the process. In deterministic mode
    shapes must not depend on what is free.
    """
    if deterministic or not placement.is_cuda:
        return plan.rows
    per_row = (plan.self_cache + plan.logits) // plan.rows
    spare = max(0, available - plan.total)
    return min(plan.batch_size * MAX_GROUP, plan.rows + spare // per_row)


def memory_plan(
    dims: ModelDims,
    placement: Placement,
    batch_size: int,
    encoder_batch: int | None = None,
    step_graphs: int = 0,
) -> MemoryPlan:
    """Bytes needed by a model of these sizes.

    encoder_batch: windows that are encoded together, or all; step_graphs: decode steps that are recorded.
    """
    together = min(batch_size, encoder_batch or batch_size)
    itemsize = torch.empty(0, dtype=placement.dtype).itemsize
    residual = torch.empty(0, dtype=placement.residual_dtype).itemsize
    parameters = sum(prod(shape) for shape in expected_shapes(dims).values())
    embedding = dims.n_vocab * dims.n_text_state
    # kept twice: for the lookup, and for the logits in another format or (CPU) another layout
    copies = residual if residual != itemsize or not placement.is_cuda else 0
    positions = together * dims.n_audio_ctx * dims.n_audio_state
    # residual, its norm, four times the state in the MLP twice (before and after GELU)
    encoder = positions * (2 * residual + 8 * itemsize)
    convolved = 2 * together * WINDOW_FRAMES * dims.n_audio_state * itemsize
    spectrum = together * WINDOW_FRAMES * 201 * (8 + 2 * FLOAT32_BYTES)
    rows = least_rows(batch_size)
    per_position = 2 * dims.n_text_layer * dims.n_text_state * itemsize
    return MemoryPlan(
        batch_size=batch_size,
        rows=rows,
        weights=parameters * itemsize + embedding * copies,
        features=spectrum + 2 * together * WINDOW_FRAMES * dims.n_mels * FLOAT32_BYTES,
        encoder=max(encoder, convolved),
        cross_cache=batch_size * per_position * dims.n_audio_ctx,
        self_cache=rows * per_position * dims.n_text_ctx * 3 // 2,  # one half is there twice while it grows
        logits=2 * rows * dims.n_vocab * 2 * FLOAT32_BYTES,
        step_graphs=step_graphs * STEP_GRAPH_BYTES,
    )


def check_fits(plan: MemoryPlan, available: int) -> None:
    """Raises ConfigError with the numbers when the plan is larger than `available` bytes."""
    if plan.total <= available:
        return
    room = available - plan.weights
    fitting = max((size for size in range(1, plan.batch_size) if plan.with_windows(size) <= room), default=0)
    advice = f"set it to {fitting} or less" if fitting else "this machine is too small for the model"
    raise ConfigError(
        f"engine.max_batch_size is {plan.batch_size}: that needs {plan}, "
        f"but {available / MIB:.0f} MiB are available; {advice}"
    )


def available_bytes(device: torch.device) -> int:
    """Free memory of the GPU, or what the operating system and the container still allow."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_meminfo_available(), _cgroup_available())


def _meminfo_available(path: str = "/proc/meminfo") -> int:
    try:
        with open(path) as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 1 << 62  # not Linux: nothing is known, nothing is refused


def _cgroup_available(folder: str = "/sys/fs/cgroup") -> int:
    try:
        with open(f"{folder}/memory.max") as file:
            limit = file.read().strip()
        with open(f"{folder}/memory.current") as file:
            used = int(file.read())
        with open(f"{folder}/memory.stat") as file:
            kinds = dict(line.split() for line in file)
    except (OSError, ValueError):
        return 1 << 62
    # the cache of files read a while ago, checkpoints above all, makes room for whoever needs it
    used -= int(kinds.get("inactive_file", 0))
    return 1 << 62 if limit == "max" else int(limit) - used
