"""The drain: nothing new, what runs is finished, and what does not finish in time is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx2
import pytest

from tests.gateway.middleware.tiny import Served, settings, tiny_app, until


@pytest.fixture
def served() -> Iterator[Served]:
    with Served(tiny_app(settings())) as running:
        yield running


def waiting_request(served: Served) -> tuple[threading.Thread, list[httpx2.Response]]:
    """A request that runs, its thread and, later, its answer."""
    answers: list[httpx2.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(httpx2.get(f"{served.url}/wait", timeout=20)), daemon=True
    )
    thread.start()
    until(lambda: served.app.state.seen.loop is not None)
    assert served.app.state.service.drain.running == 1
    return thread, answers


def test_what_runs_is_finished_and_nothing_new_is_taken(served: Served) -> None:
    drain = served.app.state.service.drain
    thread, answers = waiting_request(served)
    drain.begin(20)
    refused = httpx2.get(f"{served.url}/client", timeout=20)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
    assert refused.headers["connection"] == "close" and refused.headers["retry-after"]
    assert not drain.finished()
    served.app.state.seen.call(served.app.state.seen.released.set)
    thread.join(20)
    assert answers[0].json() == {"waited": "yes"}
    assert answers[0].headers["connection"] == "close"
    until(drain.finished)


def test_a_page_of_another_host_can_read_that_it_is_over() -> None:
    origin = "https://here.example"
    with Served(tiny_app(settings(server={"cors_origins": [origin]}))) as served:
        served.app.state.service.drain.begin(20)
        refused = httpx2.get(f"{served.url}/client", headers={"Origin": origin}, timeout=20)
    assert refused.status_code == 503
    assert refused.headers["access-control-allow-origin"] == origin


def test_what_does_not_finish_is_told(served: Served) -> None:
    drain = served.app.state.service.drain
    thread, answers = waiting_request(served)
    drain.begin(0)

    def finished() -> bool:
        served.app.state.seen.call(drain.finished)
        return drain.running == 0

    until(finished)
    thread.join(20)
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "not_ready")


def test_without_requests_it_is_over_at_once(served: Served) -> None:
    served.app.state.service.drain.begin(20)
    assert served.app.state.service.drain.finished()
