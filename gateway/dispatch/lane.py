"""What the dispatcher knows of one upstream: how much is out there, how fast it goes, whether it lives."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.torchserve.upstream import Description, TorchServeUpstream

REFILL_S = 0.15  # from an answer to the next window in TorchServe's queue: encoding, transfer, its own copies
MIN_BATCHES = 1.5  # one at work, half a one waiting
BUSY_PAUSE_S = 0.25
FIRST_REST_S = 0.25  # after a refusal for want of memory
LONGEST_REST_S = 4.0  # of those in a row: who has memory again is not left idle for longer
MAX_CUTS = 3  # connections cut in a row that make an upstream one that is gone
MAX_COMING_WAIT_S = 0.5  # of an idle upstream's next batch, a full one, for uploads that are being prepared
SMOOTHING = 0.2
ONE_DEATH_S = 0.5


def rest_s(lacks: int) -> float:
    """Seconds until the next try after `lacks` refusals in a row for want of memory."""
    return min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(lacks - 1, 16))


@dataclass(slots=True, eq=False)
class Lane:
    """One upstream's state. Plain bookkeeping: times are given, nothing is sent from here."""

    upstream: TorchServeUpstream
    workers: int
    max_batches: float  # of windows out at once, for each worker
    description: Description | None = None
    alive: bool = False  # its canary, or a window, was answered last
    outstanding: int = 0
    batch_s: float | None = None  # of a batch, as answers tell
    paused_until: float = 0.0
    cuts: int = 0
    overtaken_at: float = -math.inf  # when the newest of what has been answered was sent
    answered: int = 0
    deaths: int = 0
    died_at: float = -math.inf
    busy: int = 0
    lacks: int = 0  # refusals for want of memory since it decoded a window
    waits_since: float | None = None
    _ceiling: float = math.inf  # what its queue has shown to bear

    @property
    def batch(self) -> int:
        """Windows at work at the same time when all workers have a full batch."""
        size = self.description.max_batch_size if self.description else 1
        return size * self.workers

    @property
    def hard_limit(self) -> int:
        """Windows out at most."""
        return max(1, math.floor(min(self.max_batches * self.batch, self._ceiling)))

    @property
    def soft_limit(self) -> int:
        """Windows out at most unless a newcomer waits.

        Deep enough that a worker finds a full batch when it comes back for one, and no deeper: whatever waits
        in TorchServe's queue is before the next newcomer. Slow batches need little: half a batch waits; fast
        ones are over before the next windows have arrived, and need up to two.
        """
        if self.batch_s is None:
            return self.hard_limit
        depth = MIN_BATCHES + REFILL_S / self.batch_s
        return min(self.hard_limit, math.ceil(depth * self.batch))

    def has_room(self, now: float, *, for_newcomer: bool) -> bool:
        limit = self.hard_limit if for_newcomer else self.soft_limit
        return self.alive and self.outstanding < limit and now >= self.paused_until

    def coming_wait_s(self, now: float, *, waiting: int, coming: int) -> float:
        """Seconds for which its next batch waits for `coming` more windows; 0: what waits goes now.

        Only where it has nothing to do, for a quarter of a batch or more, and the longer the fuller the batch
        will be; never longer than a batch takes: who is not waited for would wait as long. Large batches cost
        a window less than small ones, and clients that are answered together come again together: one batch
        of 16 stays one, and 4 and 12 stay that way.
        """
        size = self.batch // self.workers
        is_worth_it = coming > 0 and waiting < size <= 4 * (waiting + coming)
        if self.outstanding or self.batch_s is None or not is_worth_it:
            self.waits_since = None
            return 0.0
        if self.waits_since is None:
            self.waits_since = now
        share = min(1.0, (waiting + coming) / size)
        return max(0.0, self.waits_since + share * min(self.batch_s, MAX_COMING_WAIT_S) - now)

    def sent(self) -> None:
        """One more window is out."""
        self.outstanding += 1
        self.waits_since = None

    @property
    def load(self) -> float:
        return self.outstanding / self.batch

    def took(self, sent_at: float, now: float, ahead: int) -> None:
        """A window was answered that was sent when `ahead` windows were out, itself included."""
        self.responded(sent_at)
        self.cuts = self.lacks = 0
        self.answered += 1
        self._ceiling += 1
        batches = max(1.0, ahead / self.batch + 0.5)  # those before it, and half of the one at work
        sample = max((now - sent_at) / batches, 1e-3)
        self.batch_s = sample if self.batch_s is None else self.batch_s + SMOOTHING * (sample - self.batch_s)

    def responded(self, sent_at: float) -> None:
        """Something that was sent then has passed a worker."""
        self.alive = True
        self.overtaken_at = max(self.overtaken_at, sent_at)

    def died(self, now: float) -> None:
        """A worker ended; every window of its batch says so, within a moment."""
        if now - self.died_at > ONE_DEATH_S:
            self.deaths += 1
        self.died_at = now

    def refused(self, now: float) -> None:
        """Its queue is full: fewer from now on, and none for a moment."""
        self.busy += 1
        if now >= self.paused_until:  # one refusal counts, not each of a volley
            self._slow_down(now + BUSY_PAUSE_S)

    def lacked(self, sent_at: float, now: float, *, is_again: bool) -> None:
        """It had no memory for a window: fewer from now on, and none for a moment that grows.

        A window that is refused again (`is_again`) where others are decoded tells of itself only.
        """
        self.responded(sent_at)
        if now >= self.paused_until and (self.lacks or not is_again):
            self.lacks += 1
            self._slow_down(now + rest_s(self.lacks))

    def _slow_down(self, until: float) -> None:
        self.paused_until = until
        self._ceiling = max(1.0, min(self._ceiling, self.hard_limit) / 2)

    def cut(self) -> None:
        self.cuts += 1
        if self.cuts >= MAX_CUTS:
            self.alive = False

    def stats(self) -> dict[str, object]:
        return {
            "url": self.upstream.url,
            "alive": self.alive,
            "workers": self.workers,
            "outstanding": self.outstanding,
            "limit": self.hard_limit,
            "batch_s": self.batch_s,
            "answered": self.answered,
            "deaths": self.deaths,
            "busy": self.busy,
        }
