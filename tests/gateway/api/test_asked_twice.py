"""A transcription with an Idempotency-Key that comes twice is decoded once."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from gateway.api_errors import KeyReused
from gateway.http.earlier_answers import OVERHEAD_BYTES, Answer, EarlierAnswers, Name
from tests.asr.containers import tone, wav
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.process.running import until
from tests.gateway.served import Gateway

PATH = "/v1/audio/transcriptions"
WAV = wav(tone(2.0))
NAME = Name("alice", PATH, "1")


def post(
    gateway: Gateway, key: str, path: str = PATH, content: bytes = WAV, **fields: str
) -> httpx2.Response:
    return httpx2.post(
        gateway.url + path,
        files={"file": ("a.wav", content)},
        data=({"language": "en"} if path == PATH else {}) | {"vad_filter": "false"} | fields,
        headers={"Idempotency-Key": key},
        timeout=60,
    )


def test_the_same_request_has_the_same_answer(gateway: Gateway, fake: FakeTorchServe) -> None:
    first = post(gateway, "same", response_format="srt")
    before = fake.asked.total()
    second = post(gateway, "same", response_format="srt")
    assert fake.asked.total() == before, "nothing was decoded"
    assert (first.status_code, second.status_code) == (200, 200)
    assert (second.content, second.headers["Content-Type"]) == (first.content, first.headers["Content-Type"])
    assert "Idempotency-Replayed" not in first.headers and second.headers["Idempotency-Replayed"] == "true"
    assert second.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    assert "Idempotency-Replayed" not in post(gateway, "same", "/v1/audio/translations").headers


def test_another_request_with_the_same_key_is_refused(gateway: Gateway) -> None:
    assert post(gateway, "reused").status_code == 200
    for other in ({"content": wav(tone(2.1))}, {"temperature": "0.4"}):
        refused = post(gateway, "reused", **other)  # type: ignore[arg-type]
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert post(gateway, "x" * 256).status_code == 400


def test_an_error_is_not_kept_and_a_stream_ignores_the_key(gateway: Gateway, fake: FakeTorchServe) -> None:
    fake.fail_next("refused")
    assert post(gateway, "mended").status_code == 500
    assert post(gateway, "mended").status_code == 200
    for _ in range(2):
        stream = post(gateway, "mended", stream="true")
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert "Idempotency-Replayed" not in stream.headers


@pytest.fixture
def held(fake: FakeTorchServe) -> Any:
    """No window has an answer until the event is set."""
    may_answer = threading.Event()
    fake.is_held = lambda: not may_answer.is_set()
    yield may_answer
    may_answer.set()
    fake.is_held = lambda: False


def test_the_same_request_waits_for_the_one_under_way(
    gateway: Gateway, fake: FakeTorchServe, held: threading.Event
) -> None:
    before = fake.asked.total()
    answers = gateway.app.state.earlier_answers
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(post, gateway, "twice") for _ in range(2)]
        name = Name("local", PATH, "twice")
        until(lambda: name in answers._entries and answers._entries[name].num_requests == 2, "one is missing")
        held.set()
        first, second = (one.result() for one in both)
    assert first.content == second.content and fake.asked.total() == before + 1
    assert sorted("Idempotency-Replayed" in one.headers for one in (first, second)) == [False, True]


def test_when_the_client_of_the_first_leaves_the_second_goes_on(
    gateway: Gateway, fake: FakeTorchServe, held: threading.Event
) -> None:
    before = fake.asked.total()
    fields = {"language": "en", "vad_filter": "false"}
    form = httpx2.Request("POST", gateway.url + PATH, files={"file": ("a.wav", WAV)}, data=fields)
    form.headers["Idempotency-Key"] = "left"
    head = "".join(f"{name}: {value}\r\n" for name, value in form.headers.items())
    with ThreadPoolExecutor() as pool:
        with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
            connection.sendall(f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + form.read())
            until(lambda: fake.asked.total() == before + 1, "the first did not begin")
            second = pool.submit(post, gateway, "left")
        until(lambda: fake.asked.total() == before + 2, "the second did not begin")
        held.set()
        assert second.result().status_code == 200


class Made:
    """Counts the answers that are made."""

    def __init__(self, body: bytes = b"text") -> None:
        self.count = 0
        self.body = body

    async def __call__(self) -> Answer:
        self.count += 1
        return Answer(self.body, "text/plain")


async def test_answers_are_apart_by_caller_path_and_key() -> None:
    answers, made = EarlierAnswers(10_000, 60), Made()
    for name in (NAME, Name("bob", PATH, "1"), Name("alice", "/v1/audio/translations", "1")):
        assert (await answers.once(name, "d", made))[1] is False
    assert made.count == 3 and (await answers.once(NAME, "d", made))[1] is True
    with pytest.raises(KeyReused):
        await answers.once(NAME, "e", made)


async def test_answers_go_when_they_are_old_or_too_large() -> None:
    now = 0.0
    answers, made = EarlierAnswers(2 * (OVERHEAD_BYTES + 4), 60, lambda: now), Made()
    await answers.once(NAME, "d", made)
    now = 61.0
    assert (await answers.once(NAME, "other", made))[1] is False, "the key is free again"
    for number in range(3):
        await answers.once(Name("bob", PATH, str(number)), "d", made)
    assert len(answers._entries) == 2 and (await answers.once(Name("bob", PATH, "2"), "d", made))[1]
    await answers.once(NAME, "d", Made(b"x" * 10_000))
    assert answers._entries == {} and answers._num_bytes == 0


async def test_who_waits_for_one_that_fails_makes_the_answer() -> None:
    answers, made, has_begun = EarlierAnswers(10_000, 60), Made(), asyncio.Event()

    async def fails() -> Answer:
        has_begun.set()
        await asyncio.sleep(0)
        raise ValueError("the worker died")

    async with asyncio.TaskGroup() as group:
        first = group.create_task(expect_failure(answers, fails))
        await has_begun.wait()
        second = group.create_task(answers.once(NAME, "d", made))
    assert first.result() and second.result() == (Answer(b"text", "text/plain"), False)


async def expect_failure(answers: EarlierAnswers, make: Any) -> bool:
    with pytest.raises(ValueError, match="the worker died"):
        await answers.once(NAME, "d", make)
    return True
