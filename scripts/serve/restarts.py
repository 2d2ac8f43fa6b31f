"""The number of restarts before an operator has to look."""

from __future__ import annotations

import time

WINDOW_S = 600.0
MAX_RESTARTS = 3  # within the window


class Restarts:
    """The recent ends of one process."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    @property
    def count(self) -> int:
        """Ends within the window."""
        return len(self._ends)

    def another(self) -> bool:
        """Counts an end; whether the process may be started once more."""
        now = time.monotonic()
        self._ends = [*(end for end in self._ends if now - end < WINDOW_S), now]
        return self.count <= MAX_RESTARTS
