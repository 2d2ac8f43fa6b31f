"""How a stream ends: by its client, its age, a drain; and what happens to what was said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx2
import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.realtime.conftest import OpenStream, StartGateway
from tests.gateway.realtime.streams import counted, silence_pcm, speech_pcm, stream
from tests.gateway.realtime.test_refused_handshakes import refusal
from tests.gateway.served import Gateway


def wait_until(reached: Callable[[], bool], seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_an_old_stream_is_told_so_after_its_last_turn(start: StartGateway) -> None:
    gateway = start(realtime={"max_stream_s": 4.0})
    with stream(gateway.url) as client:
        assert client.events[0]["session"]["expires_at"] <= time.time() + 5
        client.speak(speech_pcm(0, 1.5))
        client.until(".speech_started")
        code, reason = client.closed()
    assert (code, reason) == (1001, "the session has expired")
    assert client.events[-1]["type"] == "error" and client.events[-1]["error"]["code"] == "session_expired"
    assert client.events[-2]["type"].endswith(".completed")


def test_a_drain_answers_what_was_said_and_then_closes(start: StartGateway) -> None:
    with FakeTorchServe(delay_s=0.5, keep_windows=False) as slow:
        slow.hypothesis = counted
        gateway = start(slow)
        with stream(gateway.url) as committed, stream(gateway.url) as speaking, stream(gateway.url) as idle:
            committed.update(turn_detection=None, transcription={"delay": "xhigh"})
            committed.append(speech_pcm(0, 1.0))
            committed.commit()
            committed.until(".committed")
            speaking.speak(speech_pcm(0, 1.5))
            speaking.until(".speech_started")
            gateway.service.drain.begin(60)
            status, error, _ = refusal(gateway)
            assert (status, error["code"]) == (503, "not_ready")
            for client in (committed, speaking, idle):
                assert client.closed()[0] == 1012
    for client in (committed, speaking):
        assert client.types[-1].endswith(".completed") and "error" not in client.types
    wait_until(lambda: gateway.service.drain.finished())


def test_a_drain_does_not_wait_for_ever(start: StartGateway) -> None:
    with FakeTorchServe(delay_s=0.01, keep_windows=False) as fake:
        gateway = start(fake)
        with stream(gateway.url) as client:
            client.update(turn_detection=None, transcription={"delay": "xhigh"})
            fake.fail_next("hang")
            client.append(speech_pcm(0, 1.0))
            client.commit()
            client.until(".committed")
            gateway.service.drain.begin(0.2)
            time.sleep(0.3)
            assert not gateway.service.drain.finished()  # cancels it
            assert client.closed()[0] == 1012


def test_a_client_that_leaves_takes_everything_with_it(start: StartGateway) -> None:
    with FakeTorchServe(delay_s=0.3, keep_windows=False) as fake:
        gateway = start(fake)
        with stream(gateway.url) as client:
            client.update(turn_detection=None)
            client.speak(speech_pcm(0, 4.0))
            client.commit()
            client.until(".committed")
        wait_until(lambda: len(gateway.service.stream_places) == 0)
        wait_until(lambda: gateway.service.fleet.stats()["waiting_windows"] == 0)
        assert gateway.service.metrics.live.waiting_s._value.get() == 0


def test_a_silent_client_is_left_alone(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.append(silence_pcm(5.0))
        assert client.rest(0.5) == []
        assert client.socket.ping().wait(30)


def test_streams_are_counted_and_logged(live: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    def metric(name: str) -> float:
        text = httpx2.get(f"{live.url}/metrics").text
        lines = [line for line in text.splitlines() if line.startswith(f"whisper_gateway_live_{name}")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    heard, turns = metric("audio_seconds_total"), metric('turns_total{outcome="ok"}')
    finals = metric("final_seconds_count")
    with caplog.at_level("INFO"), stream(live.url) as client:
        assert metric("streams") >= 1
        client.update(turn_detection=None)
        client.append(speech_pcm(0, 2.0))
        client.commit()
        client.until(".completed")
        client.socket.close(1000)
        wait_until(lambda: any(record.message == "stream" for record in caplog.records))
    record = next(record for record in caplog.records if record.message == "stream")
    fields = record.fields  # type: ignore[attr-defined]
    assert fields["turns"] == 1 and abs(fields["audio_s"] - 2.0) < 0.01 and fields["close_code"] == 1005
    assert fields["caller"] == "local" and fields["violations"] == 0
    assert abs(metric("audio_seconds_total") - heard - 2.0) < 0.01
    assert metric('turns_total{outcome="ok"}') == turns + 1
    assert metric("final_seconds_count") == finals + 1
    assert json.dumps(fields)


@pytest.mark.parametrize("failure", ["die", "killed", "busy", "reset", "garbage", "overloaded"])
def test_a_worker_that_fails_costs_no_turn(start: StartGateway, failure: str) -> None:
    with FakeTorchServe(delay_s=0.05, keep_windows=False) as fake:
        fake.hypothesis = counted
        with stream(start(fake).url) as client:
            client.update(turn_detection=None)
            fake.fail_next(failure)
            client.speak(speech_pcm(0, 2.0))
            client.commit()
            completed = client.until(".completed")
            client.speak(speech_pcm(0, 1.0))
            client.commit()
            client.until(".completed")
    assert len(completed["transcript"].split()) == 6
    assert not [kind for kind in client.types if kind.endswith(("error", ".failed"))]
