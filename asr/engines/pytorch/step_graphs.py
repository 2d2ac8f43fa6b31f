"""A decode step recorded once and replayed: CUDA graphs, in buckets of sizes.

A step launches some twenty kernels per layer, most of which run for less time than their launch takes. A
recorded step is launched whole. It reads and writes the same memory in the same shapes whenever it is
replayed, so there is one for each of a few numbers of rows and columns, and smaller steps are padded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from asr.engines.device import Placement

Step = Callable[[], None]  # works on memory that stays where it is
Recorder = Callable[[Step], Step]  # a step → what repeats it

COLUMNS = (64, 128, 256)  # and all: a text without prompt has about 100 tokens
WARM_UP_STEPS = 2  # before recording: libraries choose kernels and allocate their workspaces


@dataclass(frozen=True, slots=True)
class Bucket:
    """Shapes of one recorded step."""

    rows: int
    columns: int

    def holds(self, rows: int, columns: int) -> bool:
        return rows <= self.rows and columns <= self.columns

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


def buckets(max_rows: int, max_columns: int, *, is_fixed: bool) -> tuple[Bucket, ...]:
    """What to record, smallest first; rows are powers of two and `max_rows`. Of fixed shapes the largest."""
    if is_fixed:
        return (Bucket(max_rows, max_columns),)
    powers = (1 << exponent for exponent in range(max_rows.bit_length()))
    rows = sorted({*powers, max_rows})
    columns = [*(size for size in COLUMNS if size < max_columns), max_columns]
    return tuple(Bucket(each, size) for each in rows for size in columns)


def step_recorder(policy: str, placement: Placement) -> Recorder | None:
    """What records steps on this device under `engine.cuda_graphs`; None where nothing does."""
    return CudaRecorder(placement.device) if policy == "auto" and placement.is_cuda else None


class CudaRecorder:
    """Records steps as CUDA graphs, all in one memory pool: none of them runs beside another."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._side = torch.cuda.Stream(device)  # the default stream cannot be recorded
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> Step:
        """The replay of `step`, on whatever stream is current then; raises what recording raises."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        self._side.wait_stream(current)
        # outermost: the graph's own context does not restore the stream where a broken recording ends
        with torch.cuda.device(self._device), torch.cuda.stream(self._side):
            for _ in range(WARM_UP_STEPS):
                step()
            # "thread_local": what other threads of a worker do with CUDA does not break the recording
            with torch.cuda.graph(graph, self._pool, self._side, capture_error_mode="thread_local"):
                step()
        current.wait_stream(self._side)
        return graph.replay
