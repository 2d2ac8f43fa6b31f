"""The page's routes beside an API that says what a test scripts: events, their pace, refusals, a cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from asr.engine import ModelSpec
from gateway.api_errors import NotReady
from gateway.routes import page
from gateway.settings import MediaSettings, Settings

START_TIMEOUT_S = 20
SEGMENTS = (
    (0.0, 1.48, " The stale smell of old beer lingers."),
    (1.48, 2.96, " It takes <heat> to bring out the odor & more."),
    (2.96, 59.9996, " चलो नाव को पानी में उतारें।"),
)


@dataclass
class Script:
    """What the stand-in does next; a test changes it."""

    segments: tuple[tuple[float, float, str], ...] = SEGMENTS
    hold_after: int | None = None  # events; the others come when it is None again
    refusal: tuple[int, dict[str, Any]] | None = None
    fail_after: int | None = None  # events, then an error event
    cut_after: int | None = None  # events, then the stream just ends
    key: str | None = None
    ready: bool = True
    max_upload_bytes: int = 150_000_000
    models: tuple[dict[str, Any], ...] = ({"id": "whisper-demo", "root": "whisper"},)
    forms: list[dict[str, Any]] = field(default_factory=list)  # received
    uploads: list[bytes] = field(default_factory=list)

    async def lets_go(self, index: int) -> None:
        """Returns when the event may be sent."""
        while index == self.hold_after:
            await asyncio.sleep(0.01)


class Service:
    """The part of the gateway's service that the page's routes read, settings, fleet and its model in one."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.fleet = self.default = self

    @property
    def settings(self) -> Settings:
        return Settings(media=MediaSettings(max_upload_bytes=self._script.max_upload_bytes))

    @property
    def spec(self) -> ModelSpec:
        if not self._script.ready:
            raise NotReady("no worker yet")
        return ModelSpec("demo", multilingual=True, num_languages=99, n_mels=80, n_text_ctx=448)


def error_body(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def events(script: Script) -> Iterator[dict[str, Any]]:
    for index, (start, end, text) in enumerate(script.segments):
        yield {"type": "transcript.text.delta", "delta": text if index else text.lstrip()}
        yield {
            "type": "transcript.text.segment",
            "id": index,
            "start": start,
            "end": end,
            "text": text,
            "avg_logprob": -0.2,
        }
    text = "".join(text for _, _, text in script.segments).strip()
    usage = {"type": "tokens", "input_tokens": 3000, "output_tokens": 9, "total_tokens": 3009, "seconds": 60}
    yield {"type": "transcript.text.done", "text": text, "usage": usage}


def stand_in_app(script: Script) -> FastAPI:
    app = FastAPI()
    app.state.service = Service(script)
    app.state.jobs = None
    app.include_router(page.router)

    def unauthorized(request: Request) -> Response | None:
        if script.key and request.headers.get("authorization") != f"Bearer {script.key}":
            return JSONResponse(error_body("Incorrect API key provided.", "invalid_api_key"), 401)
        return None

    @app.get("/v1/models", response_model=None)
    async def models(request: Request) -> Response:
        return unauthorized(request) or JSONResponse({"object": "list", "data": script.models})

    @app.post("/v1/audio/transcriptions", response_model=None)
    async def transcriptions(request: Request) -> Response:
        async with request.form() as form:
            script.forms.append({key: value for key, value in form.items() if isinstance(value, str)})
            script.uploads.extend(
                [await value.read() for value in form.values() if not isinstance(value, str)]
            )
        if refused := unauthorized(request):
            return refused
        if script.refusal:
            status, body = script.refusal
            return JSONResponse(body, status, headers={"Retry-After": "5"} if status in (429, 503) else None)

        async def stream() -> AsyncIterator[bytes]:
            for index, event in enumerate(events(script)):
                await script.lets_go(index)
                if index == script.fail_after:
                    event = {"type": "error", **error_body("The worker died twice.", "engine_failure")}
                if index == script.cut_after:
                    return
                yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
                if index == script.fail_after:
                    return

        return StreamingResponse(stream(), media_type="text/event-stream")

    return app


@contextlib.contextmanager
def running(app: FastAPI, lifespan: str = "off") -> Iterator[str]:
    """The app's URL while it is served by a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan=lifespan)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        give_up = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > give_up:
                raise RuntimeError("the app did not start")
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join(START_TIMEOUT_S)
