"""Workers come, go and die under load: every request is answered in the end, and once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.asr.containers import tone, wav
from tests.live.server.calls import Api, Attempts

pytestmark = pytest.mark.server
NUM_CLIENTS = 8
CLIPS = [wav(tone(1.0 + 0.25 * i)) for i in range(NUM_CLIENTS)]


@dataclass
class Load:
    """Eight clients, each sending its own clip until told to stop, each request until it is answered."""

    api: Api
    stop: threading.Event = field(default_factory=threading.Event)
    answers: list[tuple[int, int, Attempts]] = field(default_factory=list)  # client, its request, outcome
    failures: list[BaseException] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._client, args=(i,)) for i in range(NUM_CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(200)
            assert not thread.is_alive(), "a client never got its answer"

    def _client(self, i: int) -> None:
        try:
            while not self.stop.is_set():
                number = self.sent[i]
                self.sent[i] += 1
                self.answers.append((i, number, self.api.form_until_answered(CLIPS[i])))
        except BaseException as error:
            self.failures.append(error)

    def wait_for_answers(self, number: int) -> None:
        """Until `number` more answers have come."""
        goal = len(self.answers) + number
        wait_until(lambda: len(self.answers) >= goal or bool(self.failures))

    def check(self, texts: list[str]) -> None:
        """Every request was answered, once, with the text it gets on a quiet server."""
        assert self.failures == []
        ids = [(client, number) for client, number, _ in self.answers]
        assert sorted(ids) == sorted((i, n) for i in range(NUM_CLIENTS) for n in range(self.sent[i]))
        server_ids = [attempts.response.headers["x-request-id"] for _, _, attempts in self.answers]
        assert len(set(server_ids)) == len(server_ids)
        for client, _, attempts in self.answers:
            assert attempts.response.status_code == 200, attempts.response.text
            assert attempts.response.json()["text"] == texts[client]


def wait_until(condition: Callable[[], bool], seconds: float = 150) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def texts(api: Api) -> list[str]:
    """What each client's clip says, asked one by one."""
    return [api.form(clip).json()["text"] for clip in CLIPS]


def test_scaling_from_one_to_two_and_back_under_load(api: Api, texts: list[str]) -> None:
    with Load(api) as load:
        load.wait_for_answers(NUM_CLIENTS)
        api.server.scale(2)
        wait_until(lambda: len(api.server.worker_pids()) == 2)
        load.wait_for_answers(2 * NUM_CLIENTS)
        api.server.scale(1)
        wait_until(lambda: len(api.server.worker_pids()) == 1)
        load.wait_for_answers(2 * NUM_CLIENTS)
    load.check(texts)
    assert len(load.answers) >= 5 * NUM_CLIENTS


def test_a_killed_worker_costs_no_request(api: Api, texts: list[str]) -> None:
    (before,) = api.server.worker_pids()
    with Load(api) as load:
        load.wait_for_answers(NUM_CLIENTS)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: any(pid != before for pid in api.server.worker_pids()))
        load.wait_for_answers(2 * NUM_CLIENTS)
    load.check(texts)
    assert any(attempts.causes for _, _, attempts in load.answers), "no request was under way at the kill"
    assert api.server.worker_pids() != [before]
    assert api.send("healthz").status_code == 200
