"""Webhooks over a database, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy import event

from gateway.observe.webhook_metrics import WebhookMetrics
from gateway.outbound.client import OutboundClient
from gateway.settings_outgoing import OutboundSettings, WebhookSettings
from gateway.webhooks.tables import METADATA
from gateway.webhooks.webhooks import Webhooks
from tests.gateway.webhooks.receivers import Receiver
from tests.postgres import running_postgres

KEY = "alice"
DONE = {"id": "batch_1", "status": "completed"}
LOCAL = OutboundSettings(allow_http=True, allowed_networks=("127.0.0.0/8",))
START = 1_800_000_000.0


@dataclass
class Clock:
    """Unix seconds, as the test says."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Site:
    """Webhooks of one gateway, and what a test does with them."""

    engine: sa.Engine
    key_file: Path
    clock: Clock
    settings: WebhookSettings = field(default_factory=lambda: WebhookSettings(timeout_s=5))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.client = OutboundClient(LOCAL, "test/1", 1000)
        metrics = WebhookMetrics(self.registry)
        self.webhooks = Webhooks(self.engine, self.client, self.settings, self.key_file, metrics, self.clock)

    def endpoint(self, receiver: Receiver, *types: str, key: str = KEY) -> tuple[str, str]:
        """The id and the secret of a new endpoint."""
        endpoints = self.webhooks.endpoints
        row = endpoints.create(key, "test", receiver.url, types or ("batch.completed",))
        return row.id, endpoints.secret(row)

    def record(self, type: str = "batch.completed", key: str = KEY, url: str | None = None) -> None:
        with self.engine.begin() as connection:
            self.webhooks.outbox.record_event(connection, key, type, DONE, url)

    async def deliver(self) -> int:
        """Attempts everything that is due, waits for it and returns the number of attempts."""
        deliverer, total = self.webhooks.deliverer, 0
        while (started := await deliverer.start_due()) or deliverer._running:
            total += started
            if deliverer._running:
                await asyncio.wait(list(deliverer._running), return_when=asyncio.FIRST_COMPLETED)
        return total

    async def run_until(self, seconds: float, step_s: float = 60) -> None:
        """Delivers whatever becomes due while the clock goes on by this time."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            await self.deliver()
            self.clock.now += step_s
        await self.deliver()

    def log(self, endpoint_id: str, key: str = KEY) -> list[Any]:
        """The deliveries, the oldest first."""
        return list(self.webhooks.deliveries.page(key, endpoint_id, None, 100).rows)[::-1]

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"whisper_gateway_webhook_{name}", labels) or 0.0


def sqlite_engine(path: Path) -> sa.Engine:
    """An engine with the jobs' settings of SQLite."""
    engine = sa.create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    METADATA.create_all(engine)
    return engine


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with running_postgres() as url:
        yield url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture(params=["sqlite", "postgresql"])
def either_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database of each kind, empty."""
    if request.param == "sqlite":
        engine = sqlite_engine(tmp_path / "jobs.sqlite")
    else:
        engine = sa.create_engine(request.getfixturevalue("postgres_url"))
        METADATA.drop_all(engine)
        METADATA.create_all(engine)
    yield engine
    engine.dispose()


OpenSite = Callable[..., Site]


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[OpenSite]:
    """Webhooks of a gateway: open_site() over SQLite, or over an engine."""
    opened: list[Site] = []
    engines: list[sa.Engine] = []

    def make(engine: sa.Engine | None = None, clock: Clock | None = None, **settings: Any) -> Site:
        if engine is None:
            engine = sqlite_engine(tmp_path / "jobs.sqlite")
            engines.append(engine)
        values = WebhookSettings(**{"timeout_s": 5, **settings})
        site = Site(engine, tmp_path / "webhook.key", clock or Clock(), values)
        opened.append(site)
        return site

    yield make
    for site in opened:
        site.client.close()
    for engine in engines:
        engine.dispose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running
