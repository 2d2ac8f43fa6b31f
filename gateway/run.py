"""What a request waits for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property

from asr.audio.prepare import PreparedAudio
from asr.schema import Transcript
from asr.sessions import FileSession
from gateway.dispatch.driver import run_session
from gateway.dispatch.pending import Ticket


class Run:
    """One session; a background task drives it, and `advance` follows it."""

    def __init__(self, prepared: PreparedAudio, session: FileSession, ticket: Ticket, model: str) -> None:
        self.prepared = prepared
        self.session = session
        self._model = model
        self._progress = asyncio.Event()
        self._task = asyncio.create_task(run_session(session, ticket, self._progressed))
        self._task.add_done_callback(lambda _: self._progress.set())

    async def advance(self) -> bool:
        """Waits for progress; False once the session is done. Raises the session's AsrError."""
        await self._progress.wait()
        self._progress.clear()
        if self._task.done():
            self._task.result()
        if self.session.error is not None:
            raise self.session.error
        return not self._task.done()

    async def finish(self) -> None:
        """Waits until the session is done; raises the session's AsrError."""
        while await self.advance():
            pass

    @cached_property
    def transcript(self) -> Transcript:
        """Only after the session is done without an error."""
        return replace(self.session.transcript(), model=self._model)

    async def stop(self) -> None:
        """Cancels the background task and waits for its end."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _progressed(self) -> None:
        self._progress.set()
