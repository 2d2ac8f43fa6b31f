"""stream=true: events while the rest is still decoded, and what happens when it fails or nobody listens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.gateway.api.by_hand import request_by_socket, wait_until
from tests.gateway.api.conftest import TIMEOUT_S, WHOLE, StartGateway
from tests.gateway.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.slow

URL = "/v1/audio/transcriptions"
NUM_WINDOWS = 14  # of `long_wav`, at least
STREAM = {**WHOLE, "stream": "true", "temperature_increment_on_fallback": "0"}


@pytest.fixture
def slow() -> Iterator[FakeTorchServe]:
    """One window at a time, a tenth of a second each."""
    with FakeTorchServe(delay_s=0.1, batch_size=1) as running:
        yield running


def events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line[6:])


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "transcript.text.delta")


def test_the_deltas_are_the_text_of_the_plain_answer(http: httpx2.Client, long_wav: bytes) -> None:
    plain = http.post(URL, files={"file": long_wav}, data=WHOLE).json()["text"]
    answer = http.post(URL, files={"file": long_wav}, data=STREAM)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"].startswith("no-") and answer.headers["x-accel-buffering"] == "no"
    events = list(events_of(answer.iter_lines()))
    assert text_of(events) == events[-1]["text"] == plain
    segments = [event for event in events if event["type"] == "transcript.text.segment"]
    assert [segment["id"] for segment in segments] == [str(i) for i in range(len(segments))]
    assert len(segments) >= NUM_WINDOWS


def test_segments_have_their_words_where_words_are_asked_for(http: httpx2.Client, long_wav: bytes) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    words = http.post(URL, files={"file": long_wav}, data=WHOLE | fields).json()["words"]
    answer = http.post(URL, files={"file": long_wav}, data=STREAM | fields)
    segments = [event for event in events_of(answer.iter_lines()) if event["type"].endswith("segment")]
    assert words and [word for segment in segments for word in segment["words"]] == words


def test_events_come_while_the_rest_is_decoded(
    start_gateway: StartGateway, slow: FakeTorchServe, long_wav: bytes
) -> None:
    gateway = start_gateway(slow)
    with httpx2.stream(
        "POST", gateway.url + URL, files={"file": long_wav}, data=STREAM, timeout=TIMEOUT_S
    ) as answer:
        events = events_of(answer.iter_lines())
        next(events)
        decoded_at_first = len(slow.batches)
        rest = list(events)
    assert rest[-1]["type"] == "transcript.text.done"
    assert decoded_at_first < len(slow.batches) >= NUM_WINDOWS


def test_a_failure_before_the_first_segment_has_its_status(
    http: httpx2.Client, fake: FakeTorchServe, tone_wav: bytes
) -> None:
    fake.fail_next("refused")
    answer = http.post(URL, files={"file": tone_wav}, data=STREAM)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "engine_failure")


def test_a_failure_in_mid_stream_is_an_event(
    start_gateway: StartGateway, slow: FakeTorchServe, long_wav: bytes
) -> None:
    gateway = start_gateway(slow)
    slow.delay_s = 0.4
    with httpx2.stream(
        "POST", gateway.url + URL, files={"file": long_wav}, data=STREAM, timeout=TIMEOUT_S
    ) as answer:
        assert answer.status_code == 200
        lines = events_of(answer.iter_lines())
        events = [next(lines)]
        slow.fail_next("refused", 10)
        events += lines
    assert text_of(events)
    assert events[-1]["type"] == "error" and events[-1]["error"]["code"] == "engine_failure"


def test_silence_is_a_done_event(http: httpx2.Client) -> None:
    from tests.asr.containers import tone, wav

    answer = http.post(URL, files={"file": wav(tone(3.0) * 0)}, data={"stream": "true", "language": "en"})
    (done,) = events_of(answer.iter_lines())
    assert (done["type"], done["text"]) == ("transcript.text.done", "")


@pytest.mark.parametrize("stream", ["true", "false"])
def test_nothing_more_is_sent_for_a_client_that_left(
    start_gateway: StartGateway, long_wav: bytes, stream: str
) -> None:
    with FakeTorchServe(batch_size=1) as slow:
        gateway = start_gateway(slow)
        at_start = slow.num_windows
        slow.is_held = lambda: len(slow.batches) > at_start + 2
        connection = request_by_socket(gateway, long_wav, {**STREAM, "stream": stream})
        wait_until(lambda: slow.num_windows > at_start)
        if stream == "true":
            received = b""
            while b"transcript.text.delta" not in received:
                received += connection.recv(65_536)
        connection.close()
        wait_until(lambda: gateway.uploads == [])
        wait_until(lambda: slow.num_windows == at_start + gateway.service.fleet.stats()["sent"])
        sent = slow.num_windows
        slow.is_held = lambda: False
        time.sleep(0.5)
        assert slow.num_windows == sent < NUM_WINDOWS
        assert gateway.service.fleet.stats()["waiting_windows"] == 0
        assert 'status="499"' in gateway.service.metrics.exposition().decode()
