"""One upstream's bookkeeping: how many windows are in flight, how long a batch takes, whether it lives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from asr.schema import Window
from gateway.torchserve.failures import Busy, Cut, NoMemory, NotDecoded, WorkerDied
from gateway.torchserve.upstream import Description, TorchServeUpstream

REFILL_S = 0.15  # from an answer to the next window in TorchServe's queue: encoding, transfer, its own copies
MIN_BATCHES = 1.5  # one at work, half a batch waiting
BUSY_PAUSE_S = 0.25
FIRST_BACKOFF_S = 0.25  # after a refusal for want of memory
MAX_BACKOFF_S = 4.0  # cap of the exponential pause
MAX_CUTS = 3  # connections cut in a row before the upstream counts as gone
MAX_COMING_WAIT_S = 0.5  # a full batch's wait for uploads that are being prepared
SMOOTHING = 0.2
LIVE_WAIT_S = 1.0  # a final window's wait for other windows that went before it
FINALS_S = 0.25  # of final windows in flight, beside which no look at an open turn goes
ONE_DEATH_S = 0.5  # every window of a dead worker's batch reports the death within this time


# what a session's windows are for: a file; a job's file, for which nobody waits; the words of a live turn; a
# first idea of them while it is spoken
Use = Literal["file", "job", "final", "partial"]


def backoff_s(refusals: int) -> float:
    """Seconds until the next try after `refusals` in a row for want of memory."""
    return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(refusals - 1, 16))


@dataclass(slots=True, eq=False)
class Lane:
    """One upstream's state. It sends nothing and reads no clock: the caller gives the times."""

    upstream: TorchServeUpstream
    workers: int
    max_batches: float  # of windows in flight, for each worker
    description: Description | None = None
    alive: bool = False  # it answered the last canary or a window since
    outstanding: int = 0  # windows
    places: float = 0.0  # of its batches, taken by them
    partials: float = 0.0  # of them, those of live turns that are decoded again anyway
    files: float = 0.0  # of them, those of files, jobs' included
    finals: float = 0.0  # of them, those of live turns that have ended
    batch_s: float | None = None  # seconds of a batch, measured on answers
    place_s: float | None = None  # seconds of one place of a batch, likewise
    paused_until: float = 0.0
    cuts: int = 0  # in a row
    newest_answered_at: float = -math.inf  # when the newest of the answered requests was sent
    answered: int = 0
    deaths: int = 0
    died_at: float = -math.inf
    busy: int = 0
    memory_refusals: int = 0  # since it last decoded a window
    waits_since: float | None = None
    _ceiling: float = math.inf  # windows in flight that its queue has borne

    @property
    def batch(self) -> int:
        """Places of the windows at work at the same time when all workers have a full batch."""
        size = self.description.max_batch_size if self.description else 1
        return size * self.workers

    @property
    def hard_limit(self) -> int:
        """Most places in flight."""
        return max(1, math.floor(min(self.max_batches * self.batch, self._ceiling)))

    @property
    def soft_limit(self) -> int:
        """Most places in flight unless a newcomer waits.

        Deep enough that a worker finds a full batch when it comes back for one, and no deeper: whatever waits
        in TorchServe's queue is before the next newcomer. Slow batches need half a batch waiting; fast ones
        end before the next windows have arrived, and need up to two batches. Batches that have not been
        measured may be slow.
        """
        return min(self.hard_limit, math.ceil((MIN_BATCHES + self._refill_batches) * self.batch))

    def has_room(self, now: float, *, for_newcomer: bool) -> bool:
        limit = self.hard_limit if for_newcomer else self.soft_limit
        return self.alive and self.places < limit and now >= self.paused_until

    def has_room_for_partial(self, now: float) -> bool:
        """Whether a partial window may go now. Partials fill at most half a batch, so that final windows and
        files find room however many turns are open; and they wait while more than a few finals are in flight,
        for another turn may end meanwhile."""
        most = min(max(1, self.batch // 2), self._live_limit)
        if self.finals * (self.place_s or 0.0) > FINALS_S:
            return False
        return self.partials < most and self.has_room(now, for_newcomer=True)

    def has_room_for_file(self, *, is_live: bool) -> bool:
        """Whether a file's window may go now; `is_live`: while somebody speaks."""
        return not is_live or self.files < self._live_limit

    def has_room_for_job(self, *, is_live: bool) -> bool:
        """Whether a job's window may go now. Where batches are slow, one is in flight at most, so that a clip
        for which somebody waits finds room in the next one: a worker answers the windows of its batch one by
        one, and what takes their place waits, although that batch is still at work. Fast batches need up to
        two, as files do."""
        most = max(1.0, min((1.0 + self._refill_batches) * self.batch, 2 * self.batch - 1))
        return self.places < most and self.has_room_for_file(is_live=is_live)

    @property
    def _refill_batches(self) -> float:
        """Batches that a worker decodes until the next windows have arrived; 0 until their time is known."""
        return REFILL_S / self.batch_s if self.batch_s else 0.0

    @property
    def _live_limit(self) -> float:
        """Most places of files, and of partials, in flight while somebody speaks: a final window waits for
        LIVE_WAIT_S of each, however slow the machine is. One batch until its time is known."""
        return self.batch if self.place_s is None else max(1, math.floor(LIVE_WAIT_S / self.place_s))

    def coming_wait_s(self, now: float, *, waiting: int, coming: int) -> float:
        """Seconds for which the next batch waits for `coming` more windows; 0: the `waiting` ones go now.

        It waits only when the lane is idle and at least a quarter batch would be together. The wait grows
        with how full the batch would be and never exceeds one batch's time, which is what a late window would
        lose anyway. Large batches cost less per window, and clients that are answered together come again
        together: one batch of 16 stays one, and 4 and 12 stay 4 and 12.
        """
        size = self.description.most_together if self.description else 1
        is_worth_it = coming > 0 and waiting < size <= 4 * (waiting + coming)
        if self.outstanding or self.batch_s is None or not is_worth_it:
            self.waits_since = None
            return 0.0
        if self.waits_since is None:
            self.waits_since = now
        share = min(1.0, (waiting + coming) / size)
        return max(0.0, self.waits_since + share * min(self.batch_s, MAX_COMING_WAIT_S) - now)

    @property
    def load(self) -> float:
        """Batches in flight."""
        return self.places / self.batch

    def places_of(self, window: Window) -> float:
        """How many of a batch's places a window takes."""
        return self.description.places(window.encoder_frames) if self.description else 1.0

    def record_send(self, use: Use = "file", places: float = 1.0) -> None:
        """One more window is in flight."""
        self.outstanding += 1
        self.places += places
        self.partials += places * (use == "partial")
        self.files += places * (use in ("file", "job"))
        self.finals += places * (use == "final")
        self.waits_since = None

    def record_release(self, use: Use = "file", places: float = 1.0) -> None:
        """A window is in flight no more."""
        self.outstanding -= 1
        if not self.outstanding:
            self.places = self.partials = self.files = self.finals = 0.0
            return
        self.places -= places
        self.partials -= places * (use == "partial")
        self.files -= places * (use in ("file", "job"))
        self.finals -= places * (use == "final")

    def record_answer(self, sent_at: float, now: float, ahead: float) -> None:
        """A window was decoded. When it was sent, `ahead` places were taken, its own included."""
        self.record_life(sent_at)
        self.cuts = self.memory_refusals = 0
        self.answered += 1
        self._ceiling += 1
        batches = max(1.0, ahead / self.batch + 0.5)  # those before it, and half of the one at work
        sample = max((now - sent_at) / batches, 1e-3)
        self.batch_s = _smoothed(self.batch_s, sample)
        self.place_s = _smoothed(self.place_s, sample / min(ahead, self.batch))

    def record_life(self, sent_at: float) -> None:
        """A worker answered a request that was sent at this time."""
        self.alive = True
        self.newest_answered_at = max(self.newest_answered_at, sent_at)

    def record_failure(self, why: NotDecoded, sent_at: float, now: float, *, is_again: bool) -> None:
        """A window came back undecoded.

        is_again: it was refused for want of memory before.
        """
        if isinstance(why, WorkerDied):
            self.record_death(now)
        elif isinstance(why, Busy):
            self.record_busy(now)
        elif isinstance(why, NoMemory):
            self.record_no_memory(sent_at, now, is_again=is_again)
        elif isinstance(why, Cut):
            self.record_cut()
        else:
            self.alive = False

    def record_death(self, now: float) -> None:
        """A worker died; reports that come close together are about the same death."""
        if now - self.died_at > ONE_DEATH_S:
            self.deaths += 1
        self.died_at = now

    def record_busy(self, now: float) -> None:
        """Its queue is full: it gets nothing for a moment, and fewer windows from now on."""
        self.busy += 1
        if now >= self.paused_until:  # one refusal counts, not each of a volley
            self._slow_down(now + BUSY_PAUSE_S)

    def record_no_memory(self, sent_at: float, now: float, *, is_again: bool) -> None:
        """It had no memory for a window: it gets nothing for a growing pause, and fewer windows afterwards.

        A window that is refused again (`is_again`) while others are decoded says nothing about the lane.
        """
        self.record_life(sent_at)
        if now >= self.paused_until and (self.memory_refusals or not is_again):
            self.memory_refusals += 1
            self._slow_down(now + backoff_s(self.memory_refusals))

    def record_cut(self) -> None:
        """A connection ended before its answer."""
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

    def _slow_down(self, until: float) -> None:
        self.paused_until = until
        self._ceiling = max(1.0, min(self._ceiling, self.hard_limit) / 2)


def _smoothed(average: float | None, sample: float) -> float:
    return sample if average is None else average + SMOOTHING * (sample - average)
