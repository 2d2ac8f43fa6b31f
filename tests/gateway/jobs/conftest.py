"""One gateway with jobs before one fake TorchServe, and OpenAI's client."""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import sqlalchemy as sa

from gateway.jobs.files.catalogue import UNFINISHED
from gateway.jobs.tables import BATCHES
from gateway.media import media_process
from tests.asr.containers import tone, wav
from tests.asr.piece_hypotheses import HINDI, spoken
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.served import Gateway, settings_for

TIMEOUT_S = 60
ENDPOINT = "/v1/audio/transcriptions"
ALICE, BOB = "sk-alice-0123456789", "sk-bob-0123456789ab"
LIMITS: dict[str, Any] = {
    "lines": 4,
    "max_batches_per_key": 5,
    "max_file_bytes": 2_000_000,
    "max_stored_bytes_per_key": 20_000_000,
}
ENDED = ("completed", "failed", "expired", "cancelled")
WHOLE = {"vad_filter": False, "language": "en"}  # a tone is no speech: decode it all the same


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeTorchServe]:
    """Whisper, and a CTC model of Hindi beside it."""
    with FakeTorchServe(delay_s=0.005, keep_windows=False) as running:
        running.models = {"whisper", "hindi"}
        running.unlike = {"hindi": (HINDI, spoken)}
        yield running


class House:
    """The gateway that the modules share. dbos allows one in a process, so some have to close it."""

    def __init__(self, upstream: FakeTorchServe, folder: Path) -> None:
        (folder / "spool").mkdir()
        self._settings = settings_for(
            upstream,
            folder / "spool",
            upstream={"models": {"hindi": {"languages": ["hi"]}}},
            jobs={"directory": folder / "jobs", **LIMITS},
            access={"keys": [ALICE, BOB]},
        )
        self._running: Gateway | None = None

    def gateway(self) -> Gateway:
        """The gateway; starts it."""
        if self._running is None:
            self._running = Gateway(self._settings)
            self._running.__enter__()
            wait_for_media(self._running)
        return self._running

    def wait_for_rest(self) -> None:
        """Returns when the gateway, if it runs, has no unfinished batch and no line at work."""
        if self._running is None:
            return
        jobs = self._running.app.state.jobs
        unfinished = sa.select(sa.func.count()).where(BATCHES.c.status.in_(UNFINISHED))

        def num_unfinished() -> int:
            with jobs.engine.connect() as connection:
                count: int = connection.execute(unfinished).scalar_one()
            return count + len(jobs.stops.batch_ids)

        until(num_unfinished, lambda count: count == 0)

    def close(self) -> None:
        running, self._running = (
            self._running,
            None,
        )  # if it does not stop, one test fails
        if running is not None:
            running.__exit__(None, None, None)


@pytest.fixture(scope="package")
def house(upstream: FakeTorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(upstream, tmp_path_factory.mktemp("house"))
    yield house
    house.close()


@pytest.fixture(scope="module")
def gateway(house: House) -> Gateway:
    return house.gateway()


@pytest.fixture(autouse=True)
def at_rest(house: House) -> None:
    """A test begins when no batch of the tests before is unfinished."""
    house.wait_for_rest()


@pytest.fixture(scope="module")
def alone(house: House) -> None:
    """No gateway runs: Hypothesis reads the modules that are loaded, and a gateway's threads load some."""
    house.close()


def wait_for_media(gateway: Gateway) -> None:
    """Returns when a media process is ready: on a busy machine its start may take as long as a test waits for
    a batch."""
    until(gateway.service.pool.stats, lambda stats: stats["ready"] > 0, media_process.START_TIMEOUT_S)


def client_of(gateway: Gateway, key: str) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with client_of(gateway, ALICE) as client:
        yield client


@pytest.fixture(scope="module")
def bob(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with client_of(gateway, BOB) as client:
        yield client


@pytest.fixture(scope="session")
def tone_wav() -> bytes:
    """Two seconds."""
    return wav(tone(2.0))


def http(method: str, url: str, **request: Any) -> httpx2.Response:
    """The answer to one request."""
    return httpx2.request(method, url, timeout=TIMEOUT_S, **request)


def upload(client: openai.OpenAI, content: bytes, purpose: Any = "user_data", name: str = "a.wav") -> str:
    """The new file's id."""
    return client.files.create(file=(name, content), purpose=purpose).id


def line(custom_id: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": {"model": "whisper-1", **body}}


def submit(client: openai.OpenAI, lines: Sequence[Any], **options: Any) -> Any:
    """The new batch of these lines."""
    text = "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines)
    file_id = upload(client, text.encode(), "batch", "lines.jsonl")
    chosen: dict[str, Any] = {"endpoint": ENDPOINT, "completion_window": "24h", **options}
    return client.batches.create(input_file_id=file_id, **chosen)


def wait(client: openai.OpenAI, batch_id: str, statuses: Sequence[str] = ENDED) -> Any:
    """The batch once it has one of the statuses."""
    return until(lambda: client.batches.retrieve(batch_id), lambda batch: batch.status in statuses)


def until(look: Callable[[], Any], good: Callable[[Any], bool], seconds: float = TIMEOUT_S) -> Any:
    """What was looked at, once it is good. After `seconds` the test fails, with the stacks of all threads."""
    give_up = time.monotonic() + seconds
    while not good(seen := look()):
        if time.monotonic() > give_up:
            faulthandler.dump_traceback(sys.__stderr__)
            pytest.fail(f"after {seconds:g} s it is {seen}")
        time.sleep(0.05)
    return seen


def rows(client: openai.OpenAI, file_id: str | None) -> dict[str, dict[str, Any]]:
    """The lines of an output or error file by their `custom_id`, of which none is there twice."""
    if file_id is None:
        return {}
    lines = [json.loads(text) for text in client.files.content(file_id).text.splitlines()]
    found = {one["custom_id"]: one for one in lines}
    assert len(found) == len(lines)
    return found


@contextmanager
def stuck(fake: FakeTorchServe, num_batches: int = 1) -> Iterator[Callable[[int], None]]:
    """After this number of batches none has an answer until the block ends; the call lets more have one."""
    until(fake.under_way.total, lambda count: count == 0)  # windows that nobody waits for any more
    last = len(fake.batches) + num_batches

    def let(more: int) -> None:
        nonlocal last
        last += more

    fake.is_held = lambda: len(fake.batches) > last
    try:
        yield let
    finally:
        fake.is_held = lambda: False


@contextmanager
def held_back(gateway: Gateway) -> Iterator[None]:
    """No line begins during the block."""
    places = gateway.app.state.jobs.driver.places
    give, places.give = places.give, lambda: None
    try:
        yield
    finally:
        places.give = give
        gateway.app.state.jobs.stops._loop.call_soon_threadsafe(give)
