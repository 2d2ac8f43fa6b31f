"""A gateway that is killed at any moment: what was told exists, nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.jobs.database import create_tables, open_engine
from gateway.jobs.engine import identity
from gateway.jobs.engine.identity import Identity
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.jobs.conftest import ENDPOINT, WHOLE, line, rows, submit, upload, wait
from tests.gateway.process.running import GatewayProcess
from tests.postgres import running_postgres

pytestmark = pytest.mark.slow

NUM_KILLS = int(os.environ.get("JOBS_KILLS", "1"))  # by hand: 20
NUM_LINES = 12
DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture
def slow_fake() -> Iterator[FakeTorchServe]:
    with FakeTorchServe(delay_s=0.15, batch_size=4, keep_windows=False) as running:
        yield running


@contextmanager
def client_of(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{gateway.url}/v1", max_retries=0, timeout=60) as client:
        yield client


def kill(gateway: GatewayProcess) -> None:
    """The gateway and its media processes at once."""
    with suppress(ProcessLookupError):
        os.killpg(gateway.pid, signal.SIGKILL)
    gateway.wait()


def create(client: openai.OpenAI, file_id: str, name: str) -> str:
    asked: dict[str, Any] = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
    return client.batches.create(**asked, extra_headers={"Idempotency-Key": name}).id


@pytest.mark.parametrize("kind", DATABASES)
def test_whatever_is_killed_each_line_is_answered_once(
    kind: str, slow_fake: FakeTorchServe, tone_wav: bytes, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(NUM_KILLS)
    settings: dict[str, Any] = {"jobs__directory": tmp_path, "jobs__lines": 4}
    if kind == "postgresql":
        settings["jobs__database"] = request.getfixturevalue("database")
    told: set[str] = set()
    names: set[str] = set()  # Idempotency-Keys that were sent
    file_id = None
    for number in range(NUM_KILLS):
        gateway = GatewayProcess(slow_fake.url, **settings)
        with suppress(openai.APIConnectionError), client_of(gateway) as client:
            gateway.__enter__()
            if file_id is None:
                audio = upload(client, tone_wav)
                lines = [line(str(n), file_id=audio, **WHOLE) for n in range(NUM_LINES)]
                told.add(batch_id := submit(client, lines).id)
                file_id = client.batches.retrieve(batch_id).input_file_id
            killer = threading.Timer(chance.uniform(0, 1.5), kill, [gateway])
            killer.start()
            for again in range(2):
                names.add(name := f"{number}-{again}")
                told.add(create(client, file_id, name))
        killer.join()
        kill(gateway)
    with GatewayProcess(slow_fake.url, **settings) as gateway, client_of(gateway) as client:
        begun = time.monotonic()
        slow_fake.delay_s = 0.005
        assert file_id is not None
        told |= {create(client, file_id, name) for name in names}
        listed = {batch.id for batch in client.batches.list(limit=100)}
        assert listed == told, "what was told is there, and no key made two"
        for batch_id in told:
            done = wait(client, batch_id)
            assert done.status == "completed", done.errors
            assert rows(client, done.output_file_id).keys() == {str(n) for n in range(NUM_LINES)}
            assert (done.request_counts.completed, done.request_counts.failed) == (NUM_LINES, 0)
        assert done.completed_at is not None and time.monotonic() - begun < 60


def test_gateways_on_one_database_have_names_of_their_own(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(database)
    create_tables(engine)
    first, second = Identity(engine, tmp_path), Identity(engine, tmp_path)
    assert first.is_shared and first.id != second.id
    for one in (first, second, first):
        one.beat()
    assert first.dead() == []
    monkeypatch.setattr(identity, "SILENT_S", -1.0)
    assert first.dead() == [second.id] and second.dead() == [first.id]
    first.forget([second.id])
    assert first.dead() == []
    name = second.id
    second.close()
    again = Identity(engine, tmp_path)
    assert again.id == name, "a gateway that starts again has its name back"
    again.close()
    first.close()
    engine.dispose()
