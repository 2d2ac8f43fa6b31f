"""Attention of few queries to many keys and values in bfloat16, for processors without AMX.

Reading the keys and values is nearly all there is to do, and oneDNN's products with one row per head read
them at a third of the memory's rate, because they pack every matrix first. These loops take them as they lie.
Two threads of an AMD EPYC (Zen 4), attention to the audio in tiny's four layers, 16 windows, and one:

| queries | products, ms | loops, ms    |
| 1       | 11.6, 0.45   | 5.4, 0.32    |
| 2       | 6.7, 0.48    | 6.2, 0.47    |
| 5       | 8.9, 0.62    | 12.7, 0.94   |
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.engines.device import torch_threads_kept

HEAD_SIZE = 64  # of every Whisper model; loops of a known length become a few vector instructions
PAIRS = HEAD_SIZE // 2
LOWER_HALF, UPPER_HALF = np.uint32(16), np.uint32(0xFFFF0000)  # a shift and a mask make float32 of them

MOST_THREADS = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # of its pool

Pairs = NDArray[np.uint32]  # two neighbouring bfloat16 each, the first one in the lower half
Floats = NDArray[np.float32]


def attend_few(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(q keysᵀ) values in bfloat16: [n, queries, 64] over contiguous [n, positions, 64].

    Weights and sums are float32. A query's result does not depend on the others. The first call in a process
    compiles, 2 s.
    """
    scores = torch.empty(*q.shape[:2], keys.shape[1])
    sums = torch.empty(q.shape)
    with torch_threads_kept() as threads:
        numba.set_num_threads(min(threads, MOST_THREADS))
        _score(_pairs(keys), _pairs(q), scores.numpy())
        _weigh(_pairs(values), scores.softmax(-1).numpy(), sums.numpy())
    return sums.to(q.dtype)


def _pairs(matrices: Tensor) -> Pairs:
    pairs: Pairs = matrices.view(torch.int32).numpy().view(np.uint32)
    return pairs


def _inlined(function: Any) -> Any:
    return numba.njit(function)


def _compiled(function: Any) -> Any:
    return numba.njit(function, parallel=True, fastmath={"contract", "reassoc", "nsz"})


@_inlined
def _lower(pair: np.uint32) -> np.float32:
    return np.uint32(pair << LOWER_HALF).view(np.float32)


@_inlined
def _upper(pair: np.uint32) -> np.float32:
    return np.uint32(pair & UPPER_HALF).view(np.float32)


@_compiled
def _score(keys: Pairs, queries: Pairs, scores: Floats) -> None:
    """Fills scores[n, queries, positions] from keys[n, positions, PAIRS] and queries[n, queries, PAIRS]."""
    for matrix in numba.prange(keys.shape[0]):
        for query in range(queries.shape[1]):
            for position in range(keys.shape[1]):
                score = np.float32(0)
                for pair in range(PAIRS):
                    key, wanted = keys[matrix, position, pair], queries[matrix, query, pair]
                    score += _lower(key) * _lower(wanted) + _upper(key) * _upper(wanted)
                scores[matrix, query, position] = score


@_compiled
def _weigh(values: Pairs, weights: Floats, sums: Floats) -> None:
    """Fills sums[n, queries, 64] from values[n, positions, PAIRS] and weights[n, queries, positions]."""
    for matrix in numba.prange(values.shape[0]):
        for query in range(weights.shape[1]):
            # arrays of its own: what may overlap `values` would be written back at every position
            even, odd = np.zeros(PAIRS, np.float32), np.zeros(PAIRS, np.float32)
            for position in range(values.shape[1]):
                weight = weights[matrix, query, position]
                for pair in range(PAIRS):
                    even[pair] += _lower(values[matrix, position, pair]) * weight
                    odd[pair] += _upper(values[matrix, position, pair]) * weight
            for pair in range(PAIRS):
                sums[matrix, query, 2 * pair] = even[pair]
                sums[matrix, query, 2 * pair + 1] = odd[pair]
