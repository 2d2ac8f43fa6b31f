"""Delivers what is due: an asyncio task that wakes when an event is written, and looks by itself too."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from gateway.observe.webhook_metrics import WebhookMetrics
from gateway.outbound.client import OutboundClient
from gateway.outbound.outbound_errors import OutboundError
from gateway.settings_outgoing import WebhookSettings
from gateway.webhooks.claims import Claim, Claims
from gateway.webhooks.retries import Outcome, retry_after_s
from gateway.webhooks.signing import SigningKey, signed_headers

log = logging.getLogger(__name__)

MEASURE_EVERY_S = 15.0
POLL_S = 1.0  # another gateway's events, and transactions that commit late
OTHER_KEY = "this server has another key file than the endpoint's secret was made from; rotate the secret"
COMMIT_S = 0.02  # a wake comes from within its transaction
LEAVE_S = 3.0  # for running attempts when the gateway stops


class Deliverer:
    """The attempts of one gateway."""

    def __init__(
        self,
        claims: Claims,
        client: OutboundClient,
        signing_key: SigningKey,
        settings: WebhookSettings,
        metrics: WebhookMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._claims = claims
        self._client = client
        self._signing_key = signing_key
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._woken = asyncio.Event()
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._measured_at = -MEASURE_EVERY_S

    def wake(self) -> None:
        """Makes the task look at once. To be called on the task's loop."""
        self._woken.set()

    async def run(self) -> None:
        """Delivers until it is cancelled; a database that is away is asked again."""
        is_away = False
        while True:
            try:
                self._woken.clear()
                await self.start_due()
                await self._measure()
                is_away = False
            except Exception:
                if not is_away:
                    log.exception("webhooks wait until this has passed")
                is_away = True
            try:
                async with asyncio.timeout(POLL_S):
                    await self._woken.wait()
                await asyncio.sleep(COMMIT_S)
            except TimeoutError:
                pass

    async def start_due(self) -> int:
        """Starts attempts at what is due, as far as there is room; returns their number."""
        room = self._settings.max_attempts_running - len(self._running)
        if room <= 0:
            return 0
        of_keys = Counter(claim.endpoint.key for claim in self._running.values())
        half = (self._settings.max_attempts_running + 1) // 2  # slow receivers of one key leave room
        claims = await asyncio.to_thread(self._claims.take, self._clock(), room, of_keys, half)
        for claim in claims:
            task = asyncio.create_task(self._attempt(claim))
            self._running[task] = claim
            task.add_done_callback(self._ended)
        return len(claims)

    async def stop(self) -> None:
        """Waits shortly for running attempts and gives the others' endpoints back."""
        if not self._running:
            return
        _, left = await asyncio.wait(list(self._running), timeout=LEAVE_S)
        abandoned = [self._running[task] for task in left]
        for task in left:
            task.cancel()
        for claim in abandoned:
            await asyncio.to_thread(self._claims.abandon, claim)

    async def _measure(self) -> None:
        if time.monotonic() - self._measured_at < MEASURE_EVERY_S:
            return
        self._measured_at = time.monotonic()
        pending, overdue_s = await asyncio.to_thread(self._claims.waiting, self._clock())
        self._metrics.pending.set(pending)
        self._metrics.overdue_seconds.set(overdue_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self.wake()  # the endpoint may have more
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt broke; it is repeated when its lease ends", exc_info=error)

    async def _attempt(self, claim: Claim) -> None:
        began = self._clock()
        with self._metrics.attempt_seconds.time():
            outcome = await self._outcome(claim, began)
        status = await asyncio.to_thread(self._claims.finish, claim, outcome, began, self._clock())
        self._metrics.attempted(outcome.status_code, outcome.is_delivered, status)

    async def _outcome(self, claim: Claim, now: float) -> Outcome:
        secrets = self._signing_key.secrets_of(claim.endpoint, now)
        if not secrets:
            return Outcome(None, OTHER_KEY)
        headers = signed_headers(claim.event_id, claim.body, now, secrets)
        url, timeout_s = claim.endpoint.url, self._settings.timeout_s
        try:
            head = await self._client.post(url, headers, claim.body.encode(), timeout_s)
        except OutboundError as error:
            return Outcome(None, str(error))
        return Outcome(head.status, None, retry_after_s(head.headers.get("retry-after"), now))
