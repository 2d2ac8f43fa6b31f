"""Keys and values that decoding reads again and again: of the audio once per window, of the text per row.

A window owns `group` neighbouring rows: one, its beams, or its samples. Rows of finished windows are
overwritten by the last live ones, so that live rows always are the first ones and every view is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from asr.engines.device import Placement


class CrossCache:
    """Keys and values of the audio features, shared by all rows of a window.

    keys: [layers, windows, heads, positions, head_size]; values: the same on CUDA, on the CPU the last two
    are swapped: a product with one row of weights is 5 times faster there (1.2 against 5.8 ms at tiny, 16
    windows, float32, one thread).
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys
        self.values = values

    def copied(self) -> CrossCache:
        return CrossCache(self.keys.clone(), self.values.clone())

    def select(self, windows: Sequence[int]) -> CrossCache:
        """The caches of some windows; shares memory when all are wanted in order."""
        if list(windows) == list(range(self.keys.shape[1])):
            return self
        index = torch.tensor(list(windows), device=self.keys.device)
        return CrossCache(self.keys.index_select(1, index), self.values.index_select(1, index))

    def slots(self, slots: Sequence[int]) -> CrossCache:
        """A view of neighbouring windows."""
        part = slice(slots[0], slots[-1] + 1)
        return CrossCache(self.keys[:, part], self.values[:, part])

    def padded(self, windows: int) -> CrossCache:
        """A copy with room for `windows`; the new ones hold zeros."""
        caches = []
        for cache in (self.keys, self.values):
            shape = (cache.shape[0], windows, *cache.shape[2:])
            grown = torch.zeros(shape, dtype=cache.dtype, device=cache.device)
            grown[:, : cache.shape[1]] = cache
            caches.append(grown)
        return CrossCache(*caches)

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Overwrite windows `targets` with windows `sources`."""
        self.keys.index_copy_(1, targets, self.keys.index_select(1, sources))
        self.values.index_copy_(1, targets, self.values.index_select(1, sources))


class SelfCache:
    """Keys and values of the tokens so far, [layers, rows, heads, columns, head_size], column = position."""

    def __init__(self, keys: Tensor, values: Tensor, group: int) -> None:
        self.keys = keys
        self.values = values
        self.group = group  # rows of one window

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int, int], group: int, placement: Placement) -> SelfCache:
        # zeros, not empty: a masked column still multiplies its value by weight 0, and 0 * NaN is NaN
        keys = torch.zeros(shape, dtype=placement.dtype, device=placement.device)
        return cls(keys, torch.zeros_like(keys), group)

    def part(self, rows: slice) -> SelfCache:
        """A view of neighbouring rows."""
        return SelfCache(self.keys[:, rows], self.values[:, rows], self.group)

    def write_prompts(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Columns 0.. of every row from keys and values [windows, heads, columns, head_size]."""
        columns = keys.shape[2]
        for cache, new in ((self.keys, keys), (self.values, values)):
            cache[layer, :, :, :columns] = new if self.group == 1 else new.repeat_interleave(self.group, 0)

    def write_index(self, positions: Tensor) -> Tensor:
        """Where `write` puts one token per live row: positions [rows] → [rows * heads]."""
        heads, columns = self.keys.shape[2:4]
        row_heads = torch.arange(len(positions) * heads, device=positions.device) * columns
        return row_heads + positions.repeat_interleave(heads)

    def write(self, layer: int, index: Tensor, keys: Tensor, values: Tensor) -> None:
        """One token per live row; keys and values: [rows, heads, head_size], index of `write_index`."""
        size = keys.shape[-1]
        self.keys[layer].view(-1, size).index_copy_(0, index, keys.reshape(-1, size))
        self.values[layer].view(-1, size).index_copy_(0, index, values.reshape(-1, size))

    def read(self, layer: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the live rows, each a view [rows, heads, columns, head_size]."""
        return self.keys[layer, :rows, :, :columns], self.values[layer, :rows, :, :columns]

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Overwrite rows `targets` with rows `sources`."""
        self.keys.index_copy_(1, targets, self.keys.index_select(1, sources))
        self.values.index_copy_(1, targets, self.values.index_select(1, sources))

    def reorder(self, sources: Tensor, first: int, last: int) -> None:
        """Row i becomes what row sources[i] was, in columns [first, last)."""
        rows = len(sources)
        for cache in (self.keys, self.values):
            for layer in cache:
                used = layer[:rows, :, first:last]
                used.copy_(used.index_select(0, sources))
