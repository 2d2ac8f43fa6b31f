"""Forms: fields and files as they were sent, or a refusal; and no file is left behind.

An input is a line with the Content-Type, a byte that says how large the pieces are in which the body arrives,
and the body.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.requests import Request

from asr.errors import AsrError
from gateway.http.forms import received_form

MAX_BYTES = 8_000
WORDS = (
    b"multipart/form-data; boundary=",
    b"--B", b"--B--", b"\r\n\r\n", b"Content-Disposition: form-data; name=",
    b"filename*=UTF-8''", b"Content-Type: text/plain; charset=utf-16", b"charset", b"_charset_", b"file",
    b'name="timestamp_granularities[]"', b"Content-Transfer-Encoding: base64",
    b'filename="../../etc/passwd"',
)  # fmt: skip
TYPE = b"multipart/form-data; boundary=B\n"
SPOOL = Path(tempfile.gettempdir()) / f"fuzz-multipart-{os.getpid()}"
LOOP = asyncio.new_event_loop()


def part(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return (
        b'--B\r\nContent-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n" + value + b"\r\n"
    )


def seeds() -> Iterator[bytes]:
    """Whole forms, in large and in small pieces, and one that ends early."""
    form = part(b"model", b"whisper-1") + part(b"file", b"RIFF", b'; filename="a.wav"') + b"--B--\r\n"
    yield TYPE + b"\xff" + form
    yield TYPE + b"\x01" + form
    yield TYPE + b"\x10" + part(b"a[]", b"1") + part(b"a[]", b"2") + b"--B--\r\n"
    yield TYPE + b"\x07" + form[:60]
    yield b'multipart/form-data; boundary="a b"; charset=utf-16\n\x05--a b\r\n\r\n--a b--'


def check(data: bytes) -> None:
    """Raises AssertionError, or what the code under test should not have raised."""
    content_type, _, rest = data.partition(b"\n")
    size, body = (rest[0] or 1) if rest else 1, rest[1:]
    SPOOL.mkdir(exist_ok=True)
    LOOP.run_until_complete(read(content_type, [body[i : i + size] for i in range(0, len(body), size)]))
    assert list(SPOOL.iterdir()) == [], "an upload's file is left"


async def read(content_type: bytes, pieces: list[bytes]) -> None:
    waiting = iter(pieces)

    async def receive() -> dict[str, Any]:
        piece = next(waiting, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", content_type)]}
    try:
        async with received_form(Request(scope, receive), SPOOL) as form:
            sent = sum(map(len, pieces))
            assert sum(upload.path.stat().st_size for upload in form.uploads) <= sent
            assert len(form.uploads) <= 1
            assert all(isinstance(value, str) for values in form.fields.values() for value in values)
    except AsrError as error:
        assert error.status in (400, 415), error
        assert error.body()
