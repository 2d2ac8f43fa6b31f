"""Acts of hostile and unlucky callers, one at a time: broken uploads, hang-ups, kills."""

from __future__ import annotations

import http.client
import os
import random
import select
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from urllib.parse import urlsplit

from load_kit.soak.processes import worker_pids
from whisper_client.form import Form, Upload, encode_form

TIMEOUT_S = 30.0
ANSWER_WAIT_S = 10.0  # for the first byte of an answer that is then hung up on
PIECE = bytes(1 << 20)
BOUNDARY = b"0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Event:
    """One act and its result."""

    at_s: float
    act: str
    result: str


class Chaos:
    """Acts against one address, in turn. `form` is a well-formed request, to be broken off."""

    def __init__(
        self,
        url: str,
        token: str | None,
        form: Form,
        *,
        kill_workers_of: int | None = None,
        huge_megabytes: int = 200,
        seed: int = 0,
    ) -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._form = form
        self._kill_workers_of = kill_workers_of
        self._huge_bytes = huge_megabytes * 1_000_000
        self._rng = random.Random(seed)
        self._malformed = cycle(malformed_forms(self._rng))
        self.acts: Sequence[tuple[str, Callable[[], str]]] = (
            ("malformed upload", self.malformed_upload),
            ("cancel mid-upload", self.cancel_upload),
            *((("worker kill", self.kill_worker),) if kill_workers_of else ()),
            ("cancel mid-answer", self.cancel_answer),
            ("huge file", self.huge_file),
        )

    def malformed_upload(self) -> str:
        """One of several broken forms, in turn; a good server answers 4xx."""
        name, form = next(self._malformed)
        with self._connected() as connection:
            connection.request(
                "POST", self._path, form.body, self._headers | {"Content-Type": form.content_type}
            )
            return f"{name}: answered {connection.getresponse().status}"

    def cancel_upload(self) -> str:
        """Half of a form, then a reset."""
        with self._connected() as connection:
            self._begin(connection, self._form.content_type, len(self._form.body))
            connection.send(self._form.body[: len(self._form.body) // 2])
            reset(connection.sock)
        return "left in the middle of the form"

    def cancel_answer(self) -> str:
        """A whole form; hangs up at the first byte of the answer, or after ANSWER_WAIT_S without one."""
        with self._connected() as connection:
            self._begin(connection, self._form.content_type, len(self._form.body))
            connection.send(self._form.body)
            connection.sock.settimeout(ANSWER_WAIT_S)
            try:
                connection.sock.recv(1)
                when = "at the first byte of the answer"
            except TimeoutError:
                when = "before an answer"
            reset(connection.sock)
        return f"left {when}"

    def huge_file(self) -> str:
        """A form above the server's limit; a good server answers 413 or hangs up before it has it all."""
        head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="huge.wav"\r\n\r\n' % BOUNDARY
        with self._connected() as connection:
            content_type = f"multipart/form-data; boundary={BOUNDARY.decode()}"
            self._begin(connection, content_type, self._huge_bytes)
            sent = 0
            try:
                connection.send(head)
                sent = len(head)
                while sent < self._huge_bytes and not _answered_early(connection):
                    piece = PIECE[: self._huge_bytes - sent]
                    connection.send(piece)
                    sent += len(piece)
            except OSError:
                pass  # hung up on; its answer may have arrived all the same
            return f"{sent / 1e6:.0f} of {self._huge_bytes / 1e6:.0f} MB taken, {_status(connection)}"

    def kill_worker(self) -> str:
        """SIGKILL to one of the workers."""
        assert self._kill_workers_of is not None
        pids = worker_pids(self._kill_workers_of)
        if not pids:
            return "no worker to kill"
        pid = self._rng.choice(pids)
        os.kill(pid, signal.SIGKILL)
        return f"killed worker {pid}"

    def _connected(self) -> closing[http.client.HTTPConnection]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return closing(kind(self._host, self._port, timeout=TIMEOUT_S))

    def _begin(self, connection: http.client.HTTPConnection, content_type: str, length: int) -> None:
        connection.putrequest("POST", self._path)
        for name, value in {**self._headers, "Content-Type": content_type, "Content-Length": length}.items():
            connection.putheader(name, str(value))
        connection.endheaders()


def malformed_forms(rng: random.Random) -> list[tuple[str, Form]]:
    """Uploads that no server can transcribe, by name."""

    def form(name: str, content: bytes, **options: str) -> Form:
        return encode_form(Upload(name, content), {"model": "whisper-1", **options}, repeat_lists=True)

    header = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    no_boundary = Form(b"--a\r\nContent-Disposition: form-data; name=", "multipart/form-data; boundary=zzz")
    return [
        ("random bytes", form("noise.wav", rng.randbytes(50_000))),
        ("an empty file", form("empty.wav", b"")),
        ("half a header", form("half.wav", header)),
        ("an unknown option", form("a.wav", rng.randbytes(100), no_such_option="1")),
        ("a form without its boundary", no_boundary),
        ("text named mp3", form("a.mp3", b"not audio " * 1000)),
    ]


def reset(sock: socket.socket) -> None:
    """Closes with RST, as a killed caller does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _answered_early(connection: http.client.HTTPConnection) -> bool:
    """Whether something has arrived: a caller that sees an answer stops sending."""
    return bool(select.select([connection.sock], [], [], 0)[0])


def _status(connection: http.client.HTTPConnection) -> str:
    try:
        # its own reader: http.client refuses to look for an answer to a request that was not sent in full
        response = http.client.HTTPResponse(connection.sock, method="POST")
        response.begin()
    except (OSError, http.client.HTTPException, AttributeError):
        return "then hung up on"
    return f"answered {response.status}"
