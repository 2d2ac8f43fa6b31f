"""One turn on its way from its first speech to its transcript, under one item id."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from asr.live.listener import OpenTurn
from asr.live.partials import PartialSource
from asr.render.formats import clean
from gateway.dispatch.driver import run_session
from gateway.dispatch.pending import Ticket
from gateway.observe.live_metrics import StreamRecord
from gateway.realtime.outbox import Outbox
from gateway.realtime.server_events import delta, new_id


class PartialRun:
    """A source of partials at work, in a task of its own; `on_text` gets what it settles."""

    def __init__(
        self, source: PartialSource, ticket: Callable[[], Ticket], on_text: Callable[[str], None]
    ) -> None:
        """ticket: opened by the task, which may be stopped before it begins."""
        self.source = source
        self._ticket = ticket
        self._on_text = on_text
        self._is_stopped = False
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """No text from now on; a window that waits is dropped."""
        self._is_stopped = True
        self._task.cancel()

    async def _run(self) -> None:
        with self._ticket() as ticket:
            await run_session(self.source, ticket, self._progressed)

    async def _progressed(self) -> None:
        if (text := self.source.take_text()) and not self._is_stopped:
            self._on_text(text)


class OpenItem:
    """A turn that is not committed yet."""

    def __init__(self, outbox: Outbox, record: StreamRecord, *, is_quiet: bool) -> None:
        """is_quiet: whether the client wants no text before the turn ends."""
        self.id = new_id("item")
        self.text = ""  # of its deltas
        self.partials: PartialRun | None = None
        self._outbox = outbox
        self._record = record
        self._is_quiet = is_quiet
        self._speech_at: float | None = None

    def feed(self, turn: OpenTurn) -> None:
        """Shows the turn to the source of partials."""
        if self._speech_at is None and turn.speech_end > 0:
            self._speech_at = time.monotonic()
        if self.partials is not None:
            self.partials.source.feed(turn)

    def add(self, text: str) -> None:
        """Sends settled text."""
        text = clean(text)
        text = text if self.text else text.lstrip()
        if not text or self._is_quiet:
            return
        if not self.text and self._speech_at is not None:
            self._record.metrics.first_partial_s.observe(time.monotonic() - self._speech_at)
        self.text += text
        self._outbox.put(delta(self.id, text))

    def close(self) -> None:
        """Ends the partials."""
        if self.partials is not None:
            self.partials.stop()
            source = self.partials.source
            self._record.end_partials(source.num_decoded, source.num_skipped)
            self.partials = None
