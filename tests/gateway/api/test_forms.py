"""A form's upload lies on disk, whole; everything else of the form is bounded in sum, while it arrives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.requests import Request

from gateway.api_errors import BadForm
from gateway.http.forms import FORM_ROOM, Form, received_form
from gateway.media.sizes import SMALL_BYTES

PIECE = 65_536
HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
TAIL = b"\r\n--B--\r\n"


def request_of(body: bytes, chunk: int, *, more: bytes = b"", read: list[int] | None = None) -> Request:
    """more: behind the boundary in the Content-Type; read: gets the size of each piece that is asked for."""
    pieces = [body[first : first + chunk] for first in range(0, len(body), chunk)]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        message = messages.pop(0)
        if read is not None:
            read.append(len(message["body"]))
        return message

    headers = [(b"content-type", b"multipart/form-data; boundary=B" + more)]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def field(name: str, value: bytes, *headers: bytes) -> bytes:
    lines = [f'--B\r\nContent-Disposition: form-data; name="{name}"'.encode(), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + value + b"\r\n"


def received(request: Request, spool: Path) -> Form:
    async def read() -> Form:
        async with received_form(request, spool) as form:
            return form

    return asyncio.run(read())


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


@pytest.mark.parametrize(
    "parts",
    [
        [field("prompt", b"x" * (FORM_ROOM + 1))],
        [field(f"f{number}", b"x" * (FORM_ROOM // 10)) for number in range(11)],
        [field(f"{number}" + "n" * 3_900, b"") for number in range(300)],
        [field("f", b"", *[b"X-Header: " + b"h" * 3_900] * 6) for _ in range(50)],
        [HEAD.replace(b"\r\n\r\n", b"\r\nX: " + b"h" * 4_000 + b"\r\n\r\n\r\n") * 300],
    ],
    ids=["one field", "eleven fields", "names", "headers", "headers of files"],
)
def test_what_is_no_file_is_bounded_in_sum_and_refused_as_it_arrives(
    parts: list[bytes], tmp_path: Path
) -> None:
    read: list[int] = []
    body = b"".join(parts) + field("f", b"y" * 20 * FORM_ROOM)
    request = request_of(body, PIECE, read=read)

    async def refused() -> None:
        with pytest.raises(BadForm, match="more than 1000000 bytes beside its files"):
            async with received_form(request, tmp_path, max_files=1_000):
                pass

    asyncio.run(refused())
    assert sum(read) <= FORM_ROOM + 100_000 + PIECE  # boundaries and punctuation do not count
    assert list(tmp_path.iterdir()) == []


def test_a_form_may_be_as_large_as_it_may_be(tmp_path: Path) -> None:
    empty = field("prompt", b"")
    room = FORM_ROOM - len('Content-Dispositionform-data; name="prompt"')
    body = empty.removesuffix(b"\r\n") + b"x" * room + b"\r\n--B--\r\n"
    assert received(request_of(body, PIECE), tmp_path).fields == {"prompt": ["x" * room]}


@pytest.mark.parametrize(
    ("charset", "value", "text"),
    [
        (b"", "नमस्ते".encode(), "नमस्ते"),
        (b"; charset=UTF-8", "नमस्ते".encode(), "नमस्ते"),
        (b"; charset=iso-8859-1", b"caf\xe9", "café"),
        (b"", b"caf\xe9", "café"),  # not what it should be: read as browsers' oldest charset
    ],
)
def test_text_is_read_in_its_charset(charset: bytes, value: bytes, text: str, tmp_path: Path) -> None:
    body = field("prompt", value) + b"--B--\r\n"
    assert received(request_of(body, PIECE, more=charset), tmp_path).fields == {"prompt": [text]}


@pytest.mark.parametrize("charset", [b"punycode", b"utf-16", b"zip", b"\x00"])
def test_a_charset_that_costs_more_than_reading_is_refused(charset: bytes, tmp_path: Path) -> None:
    """A megabyte of punycode took minutes, in which the event loop served nobody."""
    body = field("prompt", b"a-" + b"9" * 900_000) + b"--B--\r\n"
    with pytest.raises(BadForm, match="charset"):
        received(request_of(body, PIECE, more=b"; charset=" + charset), tmp_path)
