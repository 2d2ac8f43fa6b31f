"""Events on their way to the client, in order, by one writer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from gateway.realtime.server_events import Event, new_id

MAX_UNSENT = 64  # events, above which no further frame of the client is read


class SlowReader(Exception):
    """The client does not read what it is sent."""


class Outbox:
    """`put` never waits. `run` sends until it is cancelled; it raises SlowReader."""

    def __init__(self, send: Callable[[str], Awaitable[None]], timeout_s: float) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def put(self, *events: Event) -> None:
        for event in events:
            self._events.put_nowait({"event_id": new_id("event"), **event})
        if self._events.qsize() > MAX_UNSENT:
            self._has_room.clear()

    async def room(self) -> None:
        """Waits while the client reads more slowly than it writes."""
        await self._has_room.wait()

    async def flush(self) -> None:
        """Waits until everything is sent."""
        await self._events.join()

    async def run(self) -> None:
        while True:
            event = await self._events.get()
            text = json.dumps(event, ensure_ascii=False, allow_nan=False)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._send(text)
            except TimeoutError:
                raise SlowReader(f"the client read nothing for {self._timeout_s:g} s") from None
            self._events.task_done()
            if self._events.qsize() <= MAX_UNSENT:
                self._has_room.set()
