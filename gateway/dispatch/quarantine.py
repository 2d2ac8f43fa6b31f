"""Windows whose batch killed a worker: decoded one at a time, so that the guilty one is found."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from asr.errors import AsrError
from gateway.dispatch.lane import Lane
from gateway.dispatch.pending import PendingWindow


class Quarantine:
    """Holds the suspected windows and reserves a lane for them. A window that kills a worker alone is guilty;
    no neighbour is blamed for it a second time."""

    def __init__(self) -> None:
        self._windows: deque[PendingWindow] = deque()
        self._lane: Lane | None = None

    def __len__(self) -> int:
        """Windows that wait for the lane."""
        return len(self._windows)

    @property
    def num_in_flight(self) -> int:
        return self._lane.outstanding if self._lane else 0

    def add(self, pending: PendingWindow) -> None:
        self._windows.append(pending)

    def reserves(self, lane: Lane) -> bool:
        """Whether the lane is closed to other windows."""
        return lane is self._lane

    def next(self, lanes: Sequence[Lane], now: float) -> tuple[Lane, PendingWindow] | None:
        """The window to send now and its lane; None while the lane is at work or paused."""
        while self._windows and self._windows[0].outcome.done():
            self._windows.popleft()
        if not self._windows:
            if self._lane is not None and self._lane.outstanding == 0:
                self._lane = None
            return None
        if self._lane is None or not self._lane.alive:
            living = [lane for lane in lanes if lane.alive]
            self._lane = min(living, key=lambda lane: lane.load, default=None)
        lane = self._lane
        if lane is None or lane.outstanding or not lane.has_room(now, for_newcomer=True):
            return None
        return lane, self._windows.popleft()

    def fail_all(self, error: AsrError) -> None:
        """Fails every window that waits here."""
        for pending in self._windows:
            pending.resolve(error)
