"""Keys and values that decoding reads again and again: of the audio once per window, of the text per row.

A window owns `group` neighbouring rows: one, its beams, or its samples. Rows of finished windows are
overwritten by the last live ones, so that live rows always are the first ones and every view is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.engines.device import Placement


class CrossCache:
    """Keys and values of the audio features, shared by all rows of a window.

    keys, values: [layers, windows, heads, positions, head_size]. In memory the last two dimensions may be
    swapped: each backend keeps them as it reads them fastest.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys
        self.values = values

    @classmethod
    def empty(
        cls,
        shape: tuple[int, int, int, int, int],
        placement: Placement,
        *,
        keys_swapped: bool,
        values_swapped: bool,
    ) -> CrossCache:
        """Uninitialised; shape as of the keys. Swapped: positions lie next to each other in memory."""
        order = {False: (0, 1, 2, 3, 4), True: (0, 1, 2, 4, 3)}
        keys, values = (
            torch.empty_permuted(shape, order[is_swapped], dtype=placement.dtype, device=placement.device)
            for is_swapped in (keys_swapped, values_swapped)
        )
        return cls(keys, values)

    def copied(self) -> CrossCache:
        return CrossCache(self.keys.clone(), self.values.clone())  # clones keep the order in memory

    def select(self, windows: Sequence[int]) -> CrossCache:
        """The caches of some windows; shares memory when all are wanted in order."""
        if list(windows) == list(range(self.keys.shape[1])):
            return self
        index = torch.tensor(list(windows), device=self.keys.device)
        return CrossCache(*(_of_windows(cache, index) for cache in (self.keys, self.values)))

    def slots(self, slots: Sequence[int]) -> CrossCache:
        """A view of neighbouring windows."""
        part = slice(slots[0], slots[-1] + 1)
        return CrossCache(self.keys[:, part], self.values[:, part])

    def for_search(self, windows: Sequence[int], room: int, *, is_kept: bool) -> CrossCache:
        """The caches of some windows, with room for `room`, for a search to overwrite."""
        part = self.select(windows)
        if room > len(windows):
            return part.padded(room)
        return part.copied() if is_kept and part is self else part

    def padded(self, windows: int) -> CrossCache:
        """A copy with room for `windows`; the new ones hold copies of the first."""
        there = self.keys.shape[1]
        return self.select([*range(there), *[0] * (windows - there)])

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Overwrite windows `targets` with windows `sources`."""
        for cache in (self.keys, self.values):
            _in_memory(cache).index_copy_(1, targets, _in_memory(_of_windows(cache, sources)))


def _in_memory(cache: Tensor) -> Tensor:
    """The cache with its dimensions as they lie in memory."""
    return cache if cache.stride(-1) == 1 else cache.transpose(-1, -2)


def _of_windows(cache: Tensor, index: Tensor) -> Tensor:
    """A copy of some windows, in memory as they were."""
    chosen = _in_memory(cache).index_select(1, index)
    return chosen if cache.stride(-1) == 1 else chosen.transpose(-1, -2)


class SelfCache:
    """Keys and values of the tokens so far, [layers, rows, heads, columns, head_size], column = position.

    It grows with the text, in steps of 32 columns: oneDNN copies a slice of a longer tensor in every step
    (tiny, 16 rows, 64 columns in bfloat16: 258 µs a layer instead of 104).
    """

    def __init__(self, keys: Tensor, values: Tensor, group: int) -> None:
        self.keys = keys
        self.values = values
        self.group = group  # rows of one window

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int, int], group: int, placement: Placement) -> SelfCache:
        # zeros, not empty: a masked column still multiplies its value by weight 0, and 0 * NaN is NaN
        keys = torch.zeros(shape, dtype=placement.dtype, device=placement.device)
        return cls(keys, torch.zeros_like(keys), group)

    def reserve(self, columns: int) -> None:
        """Grow to `columns` at least."""
        missing = columns - self.keys.shape[3]
        if missing > 0:
            self.keys = F.pad(self.keys, (0, 0, 0, missing))
            self.values = F.pad(self.values, (0, 0, 0, missing))

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
        return (row_heads.view(-1, heads) + positions[:, None]).flatten()

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
