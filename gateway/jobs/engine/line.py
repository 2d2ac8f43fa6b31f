"""One line of a batch → its answer, by the same service as a request over HTTP."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from asr.errors import AsrError, InvalidAudio, InvalidOption
from asr.request.values import without_blanks
from gateway.caller import Caller
from gateway.http.options import transcription_request, translation_request
from gateway.http.spool import disk_room
from gateway.http.transcripts import transcript_response
from gateway.jobs.batches.input_lines import SOURCES, parsed_line
from gateway.jobs.batches.new_batch import TRANSLATIONS
from gateway.jobs.engine import line_answers
from gateway.jobs.engine.ledger import LineAnswer
from gateway.jobs.engine.places import Place
from gateway.jobs.fetch import Fetch
from gateway.jobs.files.contents import Contents
from gateway.jobs.refusals import FileNotFound
from gateway.observe.record import RequestRecord, recorded
from gateway.service import Service

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 30.0  # between two tries while no worker is ready
NOT_NOW = 503


class LineRunner:
    """Runs lines; keeps nothing between two of them."""

    def __init__(self, service: Service, contents: Contents, fetch: Fetch) -> None:
        self._service = service
        self._contents = contents
        self._fetch = fetch

    async def run(self, raw: bytes, caller: Caller, place: Place) -> LineAnswer:
        """The answer of a line that has been checked. Waits while no worker is ready."""
        request = parsed_line(raw)
        custom_id, request_id = request["custom_id"], uuid.uuid4().hex
        record = RequestRecord(id=request_id, method="POST", route="job", caller=caller.name)
        pause_s = FIRST_PAUSE_S
        with recorded(record):
            while True:
                try:
                    body, content_type = await self._body(request, caller, place)
                    audio_s = record.audio_s or 0.0
                    return line_answers.transcribed(custom_id, request_id, body, content_type, audio_s)
                except AsrError as error:
                    if error.status < 500:
                        return line_answers.refused(custom_id, request_id, error)
                    if error.status != NOT_NOW:
                        return line_answers.failed(custom_id, "server_error", error.message)
                    log.info("a line waits %g s: %s", pause_s, error)
                except Exception:
                    log.exception("a line broke")
                    return line_answers.failed(
                        custom_id, "server_error", "internal error; the server's log has the cause"
                    )
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)

    async def _body(self, request: dict[str, Any], caller: Caller, place: Place) -> tuple[bytes, str]:
        """The HTTP answer's body and its Content-Type; raises AsrError."""
        fields = without_blanks({k: v for k, v in request["body"].items() if k not in SOURCES})
        read = translation_request if request["url"] == TRANSLATIONS else transcription_request
        model_request = read(fields, self._service, caller)
        if model_request.options.stream:
            raise InvalidOption("stream is true, must be left out: a line has one answer", param="stream")
        async with self._audio(request["body"]) as audio, place.preparing():
            prepared = await self._service.prepare_job(audio, model_request)
            place.audio_s = prepared.audio.duration_s
        async with self._service.run_job(prepared, model_request, caller) as run:
            await run.finish()
            response = await transcript_response(run, model_request.options)
        return bytes(response.body), response.headers["Content-Type"]

    @asynccontextmanager
    async def _audio(self, body: dict[str, Any]) -> AsyncIterator[Path]:
        """The line's audio on the disk during the block."""
        name = next(name for name in SOURCES if body.get(name) is not None)
        source: str = body[name]
        path = self._contents.incoming / f"line-{uuid.uuid4().hex}"
        try:
            if name == "file_id":
                yield await asyncio.to_thread(self._stored, source, path)
                return
            if source[:5].lower() == "data:":
                await asyncio.to_thread(_write_data, source, path, name)
            else:
                await self._fetch(source, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _stored(self, file_id: str, target: Path) -> Path:
        try:
            return self._contents.fetch(file_id, target)
        except FileNotFoundError:
            raise FileNotFound(f"there is no file {file_id[:80]!r} any more", param="file_id") from None


def _write_data(url: str, path: Path, param: str) -> None:
    """Writes what a data: URL holds; raises InvalidAudio."""
    head, comma, data = url.partition(",")
    try:
        is_base64 = head.lower().endswith(";base64")
        content = base64.b64decode(data, validate=True) if is_base64 else unquote_to_bytes(data)
    except (binascii.Error, ValueError) as error:
        raise InvalidAudio(f"the data: URL is no base64: {error}", param=param) from error
    if not comma:
        raise InvalidAudio("the data: URL has no comma, and so no data", param=param)
    with disk_room():
        path.write_bytes(content)
