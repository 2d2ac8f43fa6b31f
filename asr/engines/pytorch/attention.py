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

ALWAYS = 1 << 30  # more queries than any window has


@dataclass(frozen=True, slots=True)
class Operand:
    """How keys or values [positions, size] lie in memory, and how few queries are multiplied by them."""

    is_swapped: bool = False  # in memory they are [size, positions]
    left_up_to: int = 0  # up to this many queries they are the left factor of the product


@dataclass(frozen=True, slots=True)
class AttentionLayout:
    keys: Operand = Operand()
    values: Operand = Operand()
    fused_encoder: bool = True  # torch's fused attention in the encoder; else oneDNN, head by head
    loops_up_to: int = 0  # up to this many queries few_queries.py attends to the audio, not products


def attention_layout(placement: Placement) -> AttentionLayout:
    """What measures best where the model runs."""
    if placement.is_cuda:
        return AttentionLayout()
    if placement.dtype == torch.bfloat16:
        if cpu_has_amx():
            return AttentionLayout(Operand(left_up_to=ALWAYS), Operand(is_swapped=True, left_up_to=ALWAYS))
        return AttentionLayout(fused_encoder=False, loops_up_to=2)
    if cpu_is_intels():
        return AttentionLayout(Operand(is_swapped=True), Operand(is_swapped=True))
    return AttentionLayout(values=Operand(is_swapped=True, left_up_to=1), fused_encoder=False)


def cpu_is_intels(path: str = "/proc/cpuinfo") -> bool:
    """Whether MKL, which torch calls for products of float32, uses all that this processor can."""
    try:
        return "GenuineIntel" in Path(path).read_text()
    except OSError:
        return False


def times(rows: Tensor, audio: Tensor, how: Operand) -> Tensor:
    """rows @ audio, [n, queries, a] by [n, a, b], in the order that `how` wants."""
    if rows.shape[1] <= how.left_up_to:
        return torch.bmm(audio.transpose(1, 2), rows.transpose(1, 2)).transpose(1, 2)
    return torch.bmm(rows, audio)
