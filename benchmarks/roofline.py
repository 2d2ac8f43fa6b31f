#!/usr/bin/env python3
"""Prints the floor of each stage on this machine, and how near the engine comes to it.

Counts the floating-point operations and the bytes of the log-Mel spectrogram, the encoder, the cross keys and
values, and one decode step; measures this machine's matrix product rate and memory bandwidth; then runs the
engine. The floor of a stage is the longer of its arithmetic and its memory traffic.

    python benchmarks/roofline.py --size tiny --batch 16 --precision float32
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from tqdm import tqdm  # noqa: E402
from whisper.model import ModelDimensions  # noqa: E402

from benchmarks import report, seeded  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.peers.engines import Ours, Run  # noqa: E402

FRAMES, POSITIONS, FREQUENCIES, FFT_SIZE = 3_000, 1_500, 201, 400
PROMPT_TOKENS = 4  # sot, language, task, no_timestamps
BIG_BYTES = 512 << 20  # beyond any cache
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage must do for a whole batch, once or per step."""

    flops: float
    num_bytes: float

    def floor_s(self, flops_per_s: float, bytes_per_s: float) -> float:
        return max(self.flops / flops_per_s, self.num_bytes / bytes_per_s)

    def bound(self, flops_per_s: float, bytes_per_s: float) -> str:
        return "arithmetic" if self.flops / flops_per_s > self.num_bytes / bytes_per_s else "memory"


def features_work(dims: ModelDimensions, batch: int) -> Work:
    """The FFT by its usual count (5 n log2 n), the mel product; samples in, log-Mel out, spectrum between."""
    fft = 5 * FFT_SIZE * 8.64 * FRAMES
    mel = 2 * dims.n_mels * FREQUENCIES * FRAMES
    traffic = 4 * FRAMES * (160 + 2 * 3 * FREQUENCIES + 4 * dims.n_mels)
    return Work(batch * (fft + mel), batch * traffic)


def encoder_work(dims: ModelDimensions, batch: int, itemsize: int) -> Work:
    """Convolutions, projections, attention and MLP of all layers; and the cross keys and values."""
    state, layers = dims.n_audio_state, dims.n_audio_layer
    convolutions = 2 * FRAMES * state * 3 * dims.n_mels + 2 * POSITIONS * state * 3 * state
    weights = layers * 12 * state**2
    attention = layers * 4 * POSITIONS**2 * state
    cross = 2 * dims.n_text_layer * state * dims.n_text_state
    flops = convolutions + 2 * POSITIONS * (weights + cross) + attention
    # each of some 20 activations per layer is written and read once
    activations = layers * 20 * POSITIONS * state
    parameters = weights + cross + 3 * state * (dims.n_mels + state)
    return Work(batch * flops, itemsize * (parameters + batch * activations))


def step_work(dims: ModelDimensions, batch: int, itemsize: int, columns: int) -> Work:
    """One token of every row: all weights once, the row's own keys and values, its audio's."""
    state, layers = dims.n_text_state, dims.n_text_layer
    weights = layers * 14 * state**2 + dims.n_vocab * state  # cross keys and values are not projected again
    attended = layers * 2 * state * (POSITIONS + columns)
    flops = batch * 2 * (weights + attended)
    logits = batch * dims.n_vocab * 4 * 3  # float32: written, ruled, summed
    return Work(flops, itemsize * (weights + batch * attended) + logits)


def best_s(action: Callable[[], object], budget_s: float = 1.5) -> float:
    """The shortest of as many runs as fit the budget, at least three."""
    action()
    times: list[float] = []
    while len(times) < 3 or sum(times) < budget_s:
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return min(times)


def matmul_rate(dtype: torch.dtype, rows: int, inner: int, columns: int) -> float:
    """Operations per second of a product [rows, inner] x [inner, columns]."""
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    return 2 * rows * inner * columns / best_s(lambda: torch.nn.functional.linear(left, right))


def bandwidth() -> float:
    """Bytes per second of reading memory, by a sum over an array beyond any cache."""
    array = torch.ones(BIG_BYTES // 4)
    return BIG_BYTES / best_s(lambda: array.sum())


def machine_limits(threads: int) -> dict[str, float]:
    """Matrix rates by precision, square and as the encoder's MLP at base has them; bandwidth."""
    torch.set_num_threads(threads)
    limits = {"read_gb_s": bandwidth() / 1e9}
    for name, dtype in tqdm(DTYPES.items(), desc="machine", leave=False):
        limits[f"{name}_square_gflops"] = matmul_rate(dtype, 2048, 2048, 2048) / 1e9
        limits[f"{name}_mlp_gflops"] = matmul_rate(dtype, 16 * POSITIONS, 512, 2048) / 1e9
    return limits


def stages(
    dims: ModelDimensions, run: Run, batch: int, tokens: int, precision: str
) -> dict[str, tuple[Work, float]]:
    """Stage → its work and the seconds it took."""
    itemsize = torch.empty(0, dtype=DTYPES[precision]).itemsize
    return {
        "features": (features_work(dims, batch), run.features),
        "encode": (encoder_work(dims, batch, itemsize), run.encode),
        "decode step": (
            step_work(dims, batch, itemsize, PROMPT_TOKENS + tokens // 2),
            run.decode / tokens,  # the prefill counts as a step
        ),
    }


def section(data: dict[str, object]) -> str:
    """The Markdown: the machine's limits, then each stage against its floor."""
    limits: dict[str, float] = data["limits"]  # type: ignore[assignment]
    head = ["product", "float32 GFLOP/s", "bfloat16 GFLOP/s", "bfloat16 / float32"]
    shapes = (("square 2048³", "square"), ("24000×512 by 512×2048", "mlp"))
    rates = []
    for label, shape in shapes:
        single, half = (limits[f"{kind}_{shape}_gflops"] for kind in DTYPES)
        rates.append([label, f"{single:.0f}", f"{half:.0f}", f"{half / single:.2f}"])
    lines = [
        [
            f"{row['size']}, {row['precision']}, batch {row['batch']}: {row['stage']}",
            f"{row['flops'] / 1e9:.2f}",
            f"{row['num_bytes'] / 1e6:.0f}",
            row["bound"],
            f"{1000 * row['floor_s']:.1f}",
            f"{1000 * row['took_s']:.1f}",
            f"{100 * row['floor_s'] / row['took_s']:.0f} %",
        ]
        for row in data["rows"]  # type: ignore[attr-defined]
    ]
    headers = ["stage", "GFLOP", "MB", "bound by", "floor ms", "took ms", "share of the limit"]
    return "\n\n".join(
        [
            "### The floor, and how near the engine is",
            f"Reading memory: {limits['read_gb_s']:.1f} GB/s. Work is that of the whole batch; a decode step "
            "is one token of every row. The floor takes the better of the two measured product rates of its "
            "precision. A share above 100 % means that caches served what is counted as memory traffic.",
            report.table(head, rates),
            report.table(headers, lines),
            conditions_text(data["conditions"]),  # type: ignore[arg-type]
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["tiny", "base"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"], choices=list(DTYPES))
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "whisper-benchmark")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    found = conditions()
    limits = machine_limits(given.threads)
    rows = []
    plans = [(size, precision) for size in given.size for precision in given.precision]
    for size, precision in tqdm(plans, desc="stages"):
        ours = Ours(seeded.checkpoint(size, given.checkpoints), given.threads, precision=precision)
        rate = 1e9 * max(limits[f"{precision}_square_gflops"], limits[f"{precision}_mlp_gflops"])
        for batch in given.batch:
            windows = seeded.sounds(batch)
            ours.run(windows, 8)  # warm-up
            run = ours.run(windows, given.tokens)
            for stage, (work, took) in stages(
                seeded.dimensions(size), run, batch, given.tokens, precision
            ).items():
                memory = 1e9 * limits["read_gb_s"]
                rows.append(
                    {"size": size, "precision": precision, "batch": batch, "stage": stage, "took_s": took}
                    | asdict(work)
                    | {"floor_s": work.floor_s(rate, memory), "bound": work.bound(rate, memory)}
                )
    data: dict[str, object] = {"conditions": found, "limits": limits, "rows": rows}
    report.hand_over("roofline", data, section(data), keep=not given.no_publish)
    return 0


if __name__ == "__main__":
    sys.exit(main())
