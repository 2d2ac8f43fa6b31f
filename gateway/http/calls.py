"""A request to one of the paths whose form holds nothing but audio, once it has been read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from asr.sessions import open_session
from gateway.caller import Caller
from gateway.http.authentication import service_of
from gateway.http.forms import Form, received_form
from gateway.patience import deadline_s, within
from gateway.run import Run
from gateway.service import ModelRequest, OpenSession, Service


@dataclass(frozen=True, slots=True)
class Call:
    """Whose request it is, what its form holds, and how long it may take."""

    service: Service
    caller: Caller
    deadline_s: float
    form: Form

    async def chosen(self, read: Callable[[], ModelRequest]) -> ModelRequest:
        """What `read` says that the call asks for, its model loaded."""
        async with within(self.deadline_s):
            return await self.service.after_loading(read)

    def run(
        self, upload: Path, model_request: ModelRequest, opening: OpenSession = open_session
    ) -> AbstractAsyncContextManager[Run]:
        """The session of one upload."""
        return self.service.run(upload, model_request, self.caller, self.deadline_s, opening)


@asynccontextmanager
async def received_call(request: Request, caller: Caller, max_files: int = 1) -> AsyncIterator[Call]:
    """The call, its uploads on disk until the block ends; raises InvalidOption and what the form raises."""
    service = service_of(request)
    deadline = deadline_s(request, service.settings.admission.default_deadline_s)
    async with received_form(request, service.settings.media.spool_dir, max_files) as form:
        yield Call(service, caller, deadline, form)
