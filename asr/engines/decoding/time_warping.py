"""Dynamic time warping as openai-whisper's (whisper/timing.py), on a CPU, without numba.

numba costs a worker 180 MB and its first words seconds of compilation; numpy takes a diagonal at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOTH, ROW, COLUMN = 0, 1, 2  # what the step into a cell moved on


def cheapest_path(costs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The way through costs float32 [rows, columns] with the least sum: indices of rows and of columns.

    -1 stands for the edge before the first row or column, along which the way may begin.
    """
    num_rows, num_columns = costs.shape
    diagonals = np.full((num_rows + num_columns - 1, num_rows), np.inf, np.float32)
    for row, values in enumerate(costs):
        diagonals[row : row + num_columns, row] = values
    steps = np.empty(diagonals.shape, np.int8)
    # sums of the last two diagonals, each behind an infinite edge
    before, last = np.full((2, num_rows + 1), np.inf, np.float32)
    before[0] = 0.0
    for number, values in enumerate(diagonals):
        both, row, column = before[:-1], last[:-1], last[1:]
        is_both, is_row = (both < row) & (both < column), (row < both) & (row < column)  # else, equal or not
        steps[number] = np.where(is_both, BOTH, np.where(is_row, ROW, COLUMN))
        sums = np.full(num_rows + 1, np.inf, np.float32)
        np.add(values, np.where(is_both, both, np.where(is_row, row, column)), out=sums[1:])
        before, last = last, sums
    return _backwards(steps, num_rows - 1, num_columns - 1)


def _backwards(steps: NDArray[np.int8], row: int, column: int) -> NDArray[np.int64]:
    """The way that ends in a cell, from its beginning."""
    way = []
    while row >= 0 or column >= 0:
        way.append((row, column))
        step = COLUMN if row < 0 else ROW if column < 0 else steps[row + column, row]
        row -= step != COLUMN
        column -= step != ROW
    return np.array(way[::-1]).T
