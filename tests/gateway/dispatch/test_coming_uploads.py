"""An idle upstream's batch waits for uploads that are being prepared: when, how long, what it is worth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.dispatch.coming_uploads import ComingUploads
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.lane import MAX_COMING_WAIT_S, Lane
from gateway.settings import UpstreamSettings
from gateway.torchserve.http_client import HttpClient
from gateway.torchserve.upstream import MAX_ANSWER_BYTES, Description, TorchServeUpstream
from tests.gateway.dispatch.conftest import Running
from tests.gateway.dispatch.sessions import Plain, run_all
from tests.gateway.fake_hypotheses import SPEC
from tests.gateway.fake_torchserve import FakeTorchServe

Fakes = Callable[..., FakeTorchServe]
BATCH = 16


def lane(batch_s: float | None = 2.0, workers: int = 1) -> Lane:
    upstream = TorchServeUpstream("http://127.0.0.1:1", UpstreamSettings(), HttpClient(1.0, MAX_ANSWER_BYTES))
    made = Lane(upstream, workers, max_batches=3.0, description=Description(SPEC, BATCH))
    made.alive = True
    made.batch_s = batch_s
    return made


def test_nothing_is_held_without_a_reason() -> None:
    assert lane().coming_wait_s(5.0, waiting=1, coming=0) == 0, "nobody else comes"
    assert lane().coming_wait_s(5.0, waiting=BATCH, coming=9) == 0, "the batch is full"
    assert lane().coming_wait_s(5.0, waiting=1, coming=2) == 0, "TorchServe itself waits for so few"
    assert lane(batch_s=None).coming_wait_s(5.0, waiting=1, coming=9) == 0, "nobody knows what a batch costs"
    busy = lane()
    busy.record_send()
    assert busy.coming_wait_s(5.0, waiting=1, coming=9) == 0, "a batch is at work; there is time enough"
    assert lane(workers=2).coming_wait_s(5.0, waiting=BATCH, coming=9) == 0, "one worker's batch is full"


@pytest.mark.parametrize(("batch_s", "longest"), [(0.1, 0.1), (60.0, MAX_COMING_WAIT_S)])
def test_a_hold_ends_when_a_batch_would_have(batch_s: float, longest: float) -> None:
    holding = lane(batch_s)
    for passed in (0.0, 0.25, 0.5, 0.75):  # of its time
        left = holding.coming_wait_s(10 + passed * longest, waiting=1, coming=BATCH - 1)
        assert left == pytest.approx((1 - passed) * longest)
    assert holding.coming_wait_s(10 + longest, waiting=BATCH - 1, coming=1) == 0


def test_a_hold_is_as_long_as_the_batch_will_be_full() -> None:
    holding = lane()
    assert holding.coming_wait_s(10.0, waiting=1, coming=3) == pytest.approx(MAX_COMING_WAIT_S / 4)
    assert holding.coming_wait_s(10.0, waiting=1, coming=7) == pytest.approx(MAX_COMING_WAIT_S / 2), (
        "more have come"
    )
    assert holding.coming_wait_s(10.1, waiting=3, coming=40) == pytest.approx(MAX_COMING_WAIT_S - 0.1)
    assert holding.coming_wait_s(10.2, waiting=3, coming=1) == 0, "the others have left"


def test_each_batch_is_held_for_itself() -> None:
    holding = lane()
    holding.coming_wait_s(10.0, waiting=8, coming=8)
    holding.record_send()
    holding.outstanding = 0
    assert holding.coming_wait_s(20.0, waiting=8, coming=8) == MAX_COMING_WAIT_S
    holding.coming_wait_s(20.1, waiting=8, coming=0)
    assert holding.coming_wait_s(30.0, waiting=8, coming=8) == MAX_COMING_WAIT_S


class Loop:
    """Clients in a closed loop before one worker on two cores, in simulated time.

    The gateway reads one form after the other, two processes prepare the uploads, a batch uses both cores,
    and all share them evenly; TorchServe gives a first window 50 ms to find company. The times are the demo
    model's with clips of 28 s.
    """

    STEP_S = 0.001
    READ_S, PREPARE_S, DELAY_S = 0.009, 0.03, 0.05

    def __init__(self, clients: int, *, holds: bool) -> None:
        self.lane = lane(batch_s=0.3)  # as single clips before have shown it
        self.holds = holds
        self.batches: list[int] = []
        self.waited_s: list[float] = []
        self._now = 0.0
        self._forms = [self.READ_S] * clients  # seconds of a core that are left of each
        self._uploads = 0  # read
        self._preparing: list[float] = []  # seconds of a core that are left
        self._waiting: list[float] = []  # since when
        self._queued: list[float] = []  # at TorchServe: when sent
        self._collecting_since: float | None = None
        self._decoding_s = 0.0  # that are left of the batch at work

    @staticmethod
    def batch_s(size: int) -> float:
        return 0.25 + 0.0875 * size

    def run(self, seconds: float) -> None:
        for step in range(round(seconds / self.STEP_S)):
            self._now = step * self.STEP_S
            self._prepare()
            self._send()
            self._begin()
            threads = bool(self._forms) + len(self._preparing) + 2 * (self._decoding_s > 0)
            self._work(self.STEP_S * min(1.0, 2 / max(1, threads)))

    def _prepare(self) -> None:
        while self._uploads and len(self._preparing) < 2:
            self._uploads -= 1
            self._preparing.append(self.PREPARE_S)

    def _send(self) -> None:
        while self._waiting:
            uploads = len(self._forms) + self._uploads + len(self._preparing)
            coming = uploads if self.holds else 0
            if self.lane.coming_wait_s(self._now, waiting=len(self._waiting), coming=coming):
                return
            self.waited_s.append(self._now - self._waiting.pop(0))
            self.lane.record_send()
            self._queued.append(self._now)

    def _begin(self) -> None:
        if self._decoding_s > 0 or not self._queued:
            return
        if self._collecting_since is None:
            self._collecting_since = self._now
        if len(self._queued) >= BATCH or self._now - self._collecting_since >= self.DELAY_S:
            self._collecting_since = None
            self.batches.append(min(BATCH, len(self._queued)))
            self._decoding_s = self.batch_s(self.batches[-1])

    def _work(self, seconds: float) -> None:
        """Every thread works for so long."""
        if self._forms:
            self._forms[0] -= seconds
            if self._forms[0] <= 0:
                self._forms.pop(0)
                self._uploads += 1
        left = [upload - seconds for upload in self._preparing]
        self._preparing = [upload for upload in left if upload > 0]
        self._waiting += [self._now] * (len(left) - len(self._preparing))
        if self._decoding_s > 0:
            self._decoding_s -= seconds
            if self._decoding_s <= 0:
                self._answer(self.batches[-1])

    def _answer(self, size: int) -> None:
        for _ in range(size):
            self.lane.record_answer(self._queued.pop(0), self._now, self.lane.outstanding)
            self.lane.outstanding -= 1
            self._forms.append(self.READ_S)


def test_clients_that_come_together_stay_together() -> None:
    held, sent_at_once = Loop(16, holds=True), Loop(16, holds=False)
    for loop in (held, sent_at_once):
        loop.run(100.0)
    assert min(sent_at_once.batches[-20:]) < 8, "a small one and the rest, in turn"
    assert min(held.batches[-20:]) == BATCH
    assert sum(held.batches) > 1.05 * sum(sent_at_once.batches)


@pytest.mark.parametrize("clients", [1, 2, 3, 5, 8, 15, 17, 32])
def test_holding_costs_no_throughput_and_nobody_much_time(clients: int) -> None:
    held, sent_at_once = Loop(clients, holds=True), Loop(clients, holds=False)
    for loop in (held, sent_at_once):
        loop.run(50.0)
    assert sum(held.batches) >= 0.98 * sum(sent_at_once.batches)
    assert max(held.waited_s) <= max(sent_at_once.waited_s) + MAX_COMING_WAIT_S


def measured(dispatcher: Dispatcher) -> None:
    for one in dispatcher.lanes:
        one.batch_s = 60.0


async def test_a_window_waits_for_an_upload_that_is_prepared(
    fakes: Fakes, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gateway.dispatch.lane.MAX_COMING_WAIT_S", 60.0
    )  # longer than a busy machine takes to get here
    fake = fakes(batch_size=4)
    async with running(fake) as dispatcher:
        measured(dispatcher)
        sessions = [Plain([number]) for number in range(2)]
        with dispatcher.coming_uploads.one():
            work = asyncio.create_task(run_all(dispatcher, sessions))
            await asyncio.sleep(0.1)
            assert fake.num_windows == 0
        await work
    for session in sessions:
        session.check()
    assert [len(batch) for batch in fake.batches] == [2]


async def test_a_slow_sender_is_not_counted_for_long() -> None:
    left: list[int] = []
    coming = ComingUploads(lambda: left.append(len(coming)))
    with coming.one(max_wait_s=0.01), coming.one():
        assert len(coming) == 2
        await asyncio.sleep(0.05)
        assert len(coming) == 1
    await asyncio.sleep(0)
    assert left == [0, 0]


async def test_a_window_does_not_wait_for_an_upload_for_ever(fakes: Fakes, running: Running) -> None:
    async with running(fakes(batch_size=4)) as dispatcher:
        measured(dispatcher)
        session = Plain([1])
        with dispatcher.coming_uploads.one():
            await run_all(dispatcher, [session])
        session.check()
