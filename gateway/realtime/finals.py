"""Committed turns: decoded side by side, answered in the order of their commits."""

from __future__ import annotations

import asyncio
import logging
import time

from asr.constants import SAMPLE_RATE
from asr.errors import AsrError
from asr.live.agreement import rest_of
from asr.render.formats import clean
from asr.schema import Samples
from gateway.caller import Caller
from gateway.http.failures import internal_error
from gateway.observe.live_metrics import StreamRecord
from gateway.observe.tracing import turn_span
from gateway.realtime.final import transcribed
from gateway.realtime.item import OpenItem
from gateway.realtime.items import Items
from gateway.realtime.outbox import Outbox
from gateway.realtime.server_events import Event, completed, delta, failed
from gateway.service import ModelRequest, Service

log = logging.getLogger(__name__)


class Finals:
    """The turns of one stream that have no transcript yet."""

    def __init__(
        self, service: Service, caller: Caller, outbox: Outbox, items: Items, record: StreamRecord
    ) -> None:
        self.waiting_s = 0.0  # audio of the turns
        self._service, self._caller = service, caller
        self._outbox, self._items, self._record = outbox, items, record
        self._tasks: set[asyncio.Task[None]] = set()
        self._latest: asyncio.Task[None] | None = None

    def start(self, item: OpenItem, samples: Samples, request: ModelRequest) -> None:
        """Decodes a committed turn."""
        audio_s = len(samples) / SAMPLE_RATE
        self._wait(audio_s)
        task = asyncio.create_task(self._answer(item, samples, request, self._latest))
        self._latest = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._wait(-audio_s))

    async def one_done(self, timeout_s: float) -> None:
        """Waits until a turn is done, if there is one."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    async def all_done(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _answer(
        self, item: OpenItem, samples: Samples, request: ModelRequest, before: asyncio.Task[None] | None
    ) -> None:
        began_at = time.monotonic()
        with turn_span(
            self._service.tracer,
            item_id=item.id,
            caller=self._caller.name,
            model=request.model.name,
            audio_s=len(samples) / SAMPLE_RATE,
        ) as span:
            events, error = await self._decoded(item, samples, request)
            if error is not None:
                span.set_attribute("whisper.error_code", error.code)
        if before is not None:
            await asyncio.wait([before])
        self._outbox.put(*events)
        self._record.end_turn(time.monotonic() - began_at, error.code if error else None)

    async def _decoded(
        self, item: OpenItem, samples: Samples, request: ModelRequest
    ) -> tuple[list[Event], AsrError | None]:
        """The events that end the turn, and what went wrong."""
        error: AsrError
        try:
            answer = await transcribed(samples, request, self._service, self._caller)
            self._items.complete(item.id, answer["text"])
            return _events(item, answer["text"], completed(item.id, answer)), None
        except AsrError as problem:
            error = problem
        except Exception:
            log.exception("a turn broke")
            error = internal_error()
        return [failed(item.id, error)], error

    def _wait(self, audio_s: float) -> None:
        self.waiting_s += audio_s
        self._record.metrics.waiting_s.inc(audio_s)


def _events(item: OpenItem, text: str, last: Event) -> list[Event]:
    """The rest of the text that the deltas have begun, if they have begun it, and the transcript."""
    rest = rest_of(text, clean(item.text))
    return [delta(item.id, rest), last] if rest else [last]
