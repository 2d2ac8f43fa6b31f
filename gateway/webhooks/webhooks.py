"""The parts of the webhooks, put together over the jobs' database."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from asr.errors import InvalidOption
from gateway.api_errors import GatewayError
from gateway.job_rows import new_id
from gateway.observe.webhook_metrics import WebhookMetrics
from gateway.outbound.client import OutboundClient
from gateway.outbound.outbound_errors import OutboundError, RefusedUrl
from gateway.settings_outgoing import WebhookSettings
from gateway.webhooks.claims import Claims
from gateway.webhooks.deliverer import OTHER_KEY, Deliverer
from gateway.webhooks.delivery_log import DeliveryLog
from gateway.webhooks.endpoints import Endpoints
from gateway.webhooks.outbox import Outbox, event_body
from gateway.webhooks.signing import read_signing_key, signed_headers

log = logging.getLogger(__name__)

CLEAN_EVERY_S = 3_600.0
DAY_S = 86_400.0


class TestFailed(GatewayError):
    """A test event found no receiver."""

    __test__ = False  # pytest takes it for a test
    status = 400
    type = "invalid_request_error"
    code = "webhook_test_failed"


class Webhooks:
    """Endpoints, their events and their deliveries; one per gateway."""

    def __init__(
        self,
        engine: sa.Engine,
        client: OutboundClient,
        settings: WebhookSettings,
        key_file: Path,
        metrics: WebhookMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """engine: over a database that has the tables of `gateway.webhooks.tables`. key_file: where
        `settings` names none. Raises SettingsError."""
        self._client = client
        self._settings = settings
        self._clock = clock
        self._signing_key = read_signing_key(settings.key_file or key_file)
        self._claims = Claims(engine, random.random)
        self._is_alone = engine.dialect.name == "sqlite"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.deliverer = Deliverer(self._claims, client, self._signing_key, settings, metrics, clock)
        self.endpoints = Endpoints(engine, self._signing_key, settings.max_endpoints_per_key, clock)
        self.deliveries = DeliveryLog(engine, self.endpoints, settings.keep_days * DAY_S, clock)
        self.outbox = Outbox(self._signing_key, self.wake, clock)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._is_alone:
            await asyncio.to_thread(self._claims.release_all)
        self._tasks = [asyncio.create_task(self.deliverer.run()), asyncio.create_task(self._clean())]

    async def close(self) -> None:
        """Stops between attempts; what is pending waits for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.deliverer.stop()

    def wake(self) -> None:
        """Tells the deliverer, from any thread, that there may be something to do."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended; the next start finds the delivery
                self._loop.call_soon_threadsafe(self.deliverer.wake)

    async def check_url(self, url: str, param: str = "url") -> None:
        """Raises InvalidOption if nothing may be delivered to this URL; its name may be unknown as yet."""
        try:
            await self._client.check(url)
        except RefusedUrl as error:
            raise InvalidOption(f"{param}: {error}", param=param) from error
        except OutboundError as error:
            log.debug("%s cannot be checked yet: %s", param, error)

    async def test(self, key: str, endpoint_id: str, event_type: str) -> int:
        """The status with which the endpoint answers a sample event; raises EndpointNotFound or
        TestFailed."""
        row = await asyncio.to_thread(self.endpoints.get, key, endpoint_id)
        event_id, now = new_id("evt_"), self._clock()
        body = event_body(event_id, event_type, now, {"id": new_id("batch_test_")})
        secrets = self._signing_key.secrets_of(row, now)
        if not secrets:
            raise TestFailed(OTHER_KEY)
        headers = signed_headers(event_id, body, now, secrets)
        try:
            head = await self._client.post(row.url, headers, body.encode(), self._settings.timeout_s)
        except OutboundError as error:
            raise TestFailed(f"the event was not delivered: {error}") from error
        return head.status

    async def _clean(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.deliveries.remove_old)
            except Exception:
                log.exception("old deliveries could not be removed")
            await asyncio.sleep(CLEAN_EVERY_S)
