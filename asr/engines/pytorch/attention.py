"""How attention is multiplied, and how the audio's keys and values lie in memory: by processor.

No order is best everywhere. Milliseconds for the keys and values of tiny, 16 windows, one query each, two
threads of an Intel processor with AMX:

| stored, product                        | bfloat16 by AMX | float32 by MKL |
| keys [positions, size], query first    | 2.1             | 2.3            |
| the same, keys first                   | 0.75            | 3.6            |
| keys [size, positions], query first    | 1.4             | 1.3            |
| values [positions, size], weights first| 0.81            | 1.6            |
| values [size, positions], weights first| 0.83            | 1.3            |
| the same, values first                 | 0.73            | 3.6            |

Reading them alone takes 0.7 in bfloat16 and 1.4 in float32. On AMD's processors MKL leaves out AVX-512 and
the picture is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from asr.engines.device import Placement, cpu_has_amx

MANY = 1 << 30  # more queries than there are


@dataclass(frozen=True, slots=True)
class Kept:
    """How keys or values [positions, size] are kept, and multiplied by few queries."""

    is_swapped: bool = False  # in memory they are [size, positions]
    first_up_to: int = 0  # for so many queries they are the left factor of their product


@dataclass(frozen=True, slots=True)
class AttentionLayout:
    keys: Kept = Kept()
    values: Kept = Kept()
    fused_encoder: bool = True  # torch's fused attention in the encoder; else oneDNN, head by head
    loops_up_to: int = 0  # for so many queries few_queries.py attends to the audio, not products


def attention_layout(placement: Placement) -> AttentionLayout:
    """What measures best where the model runs."""
    if placement.is_cuda:
        return AttentionLayout()
    if placement.dtype == torch.bfloat16:
        if cpu_has_amx():
            return AttentionLayout(Kept(first_up_to=MANY), Kept(is_swapped=True, first_up_to=MANY))
        return AttentionLayout(fused_encoder=False, loops_up_to=2)
    if cpu_is_intels():
        return AttentionLayout(Kept(is_swapped=True), Kept(is_swapped=True))
    return AttentionLayout(values=Kept(is_swapped=True, first_up_to=1), fused_encoder=False)


def cpu_is_intels(path: str = "/proc/cpuinfo") -> bool:
    """Whether MKL, which torch calls for products of float32, uses all that this processor can."""
    try:
        return "GenuineIntel" in Path(path).read_text()
    except OSError:
        return False


def times(rows: Tensor, kept: Tensor, how: Kept) -> Tensor:
    """rows @ kept, [n, queries, a] by [n, a, b], in the order that `how` wants."""
    if rows.shape[1] <= how.first_up_to:
        return torch.bmm(kept.transpose(1, 2), rows.transpose(1, 2)).transpose(1, 2)
    return torch.bmm(rows, kept)
