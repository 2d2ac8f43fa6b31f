"""A form's upload lies on disk, whole, whether it was small enough to be written at once or not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.requests import Request

from gateway.http.forms import SMALL_BYTES, received_form

HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
TAIL = b"\r\n--B--\r\n"


def request_of(body: bytes, chunk: int) -> Request:
    pieces = [body[first : first + chunk] for first in range(0, len(body), chunk)]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return messages.pop(0)

    headers = [(b"content-type", b"multipart/form-data; boundary=B")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize(
    "size", [0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, 3 * SMALL_BYTES], ids=str
)
@pytest.mark.parametrize("chunk", [1_000, 65_536, 10_000_000])
def test_the_upload_is_on_disk(size: int, chunk: int, tmp_path: Path) -> None:
    sound = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()

    async def stored() -> bytes:
        async with received_form(request_of(HEAD + sound + TAIL, chunk), tmp_path) as form:
            upload = form.single_upload()
            assert (upload.filename, upload.path.parent) == ("a.wav", tmp_path)
            return upload.path.read_bytes()

    assert asyncio.run(stored()) == sound
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_told_from_text_is_no_file(http: httpx2.Client) -> None:
    error = http.post("/v1/audio/transcriptions", data={"file": "x"}, files={"a": b"x"}).json()["error"]
    assert (error["param"], error["message"][:22]) == ("file", "the form has no file: ")
