"""A server on a real socket that answers as told: well, badly, late, in parts or not at all."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

TEXT = "hello नमस्ते"
DURATION_S = 2.5


@dataclass
class Received:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    fields: dict[str, list[str]]
    file_name: str = ""
    file_bytes: bytes = b""


Behaviour = Callable[["FakeHandler", Received], None]


@dataclass
class FakeServer:
    """`script` holds one behaviour for each request to come; after its end every answer is `default`."""

    port: int = 0
    script: list[Behaviour] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)  # lets slow answers go
    description: dict[str, Any] = field(default_factory=dict)  # of the model
    default: Behaviour | None = None  # None: good
    max_body_bytes: int = 1 << 30  # above: 413 and a closed connection, unread and outside the script
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/predictions/whisper"

    def play(self, *behaviours: Behaviour) -> None:
        self.script.extend(behaviours)

    def next_behaviour(self, request: Received) -> Behaviour:
        with self.lock:
            self.received.append(request)
            return self.script.pop(0) if self.script else self.default or good


class FakeHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def do_POST(self) -> None:
        self.connection.settimeout(20)
        length = int(self.headers["Content-Length"])
        if length > self.fake.max_body_bytes:
            self.close_connection = True
            return self.answer(413, b"", "text/plain")
        body = self.rfile.read(length)
        if len(body) < length:  # the caller left
            self.close_connection = True
            return
        request = parse_form(self.path, dict(self.headers), body)
        self.fake.next_behaviour(request)(self, request)

    def do_GET(self) -> None:
        if self.path in ("/predictions/whisper/1.0/model", "/v1/models"):  # beside the script
            return self.answer(200, json.dumps(self.fake.description).encode(), "application/json")
        request = Received(self.path, dict(self.headers), {})
        self.fake.next_behaviour(request)(self, request)

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


def parse_form(path: str, headers: dict[str, str], body: bytes) -> Received:
    head = f"Content-Type: {headers.get('Content-Type', '')}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + body)
    request = Received(path, headers, {})
    for part in message.get_payload() if message.is_multipart() else []:
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        if name == "file":
            request.file_name, request.file_bytes = part.get_filename(), content
        else:
            request.fields.setdefault(name, []).append(content.decode())
    return request


def good(handler: FakeHandler, request: Received) -> None:
    """The answer in the format asked for; events where a stream is asked for."""
    if request.fields.get("stream") == ["true"]:
        return events(*deltas())(handler, request)
    response_format = request.fields.get("response_format", ["json"])[0]
    if response_format == "text":
        return handler.answer(200, f"{TEXT}\n".encode(), "text/plain; charset=utf-8")
    if response_format == "srt":
        cue = f"1\n00:00:00,000 --> 00:00:02,500\n{TEXT}\n"
        return handler.answer(200, cue.encode(), "application/x-subrip")
    document: dict[str, Any] = {"text": TEXT}
    if response_format == "verbose_json":
        document |= {"duration": DURATION_S, "language": "english", "segments": []}
    handler.answer(200, json.dumps(document).encode(), "application/json")


def deltas() -> list[dict[str, Any]]:
    parts = [{"type": "transcript.text.delta", "delta": part} for part in ("hello", " नमस्ते")]
    return [*parts, {"type": "transcript.text.done", "text": TEXT}]


def status(code: int, message: str = "", **headers: str) -> Behaviour:
    """An error as TorchServe words it; without a message, an empty body."""
    document = {"code": code, "type": "ServiceUnavailableException", "message": message}
    body = json.dumps(document).encode() if message else b""
    return lambda handler, _: handler.answer(code, body, "application/json", **headers)


def openai_error(code: int, message: str) -> Behaviour:
    body = json.dumps(
        {"error": {"message": message, "type": "invalid_request_error", "param": None}}
    ).encode()
    return lambda handler, _: handler.answer(code, body, "application/json")


def plain(body: bytes, content_type: str, code: int = 200, **headers: str) -> Behaviour:
    return lambda handler, _: handler.answer(code, body, content_type, **headers)


def reset(handler: FakeHandler, _: Received) -> None:
    """Drops the connection with RST, as a killed server does."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True
    handler.connection.close()


def truncated(handler: FakeHandler, _: Received) -> None:
    """Promises more bytes than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"text": "hel')
    handler.close_connection = True


def slow(handler: FakeHandler, _: Received) -> None:
    """Says nothing until the test is over."""
    handler.fake.released.wait(20)
    handler.close_connection = True


def events(*documents: Any, end: str = "close") -> Behaviour:
    """Server-sent events, a chunk each; `end`: "close" properly, "reset", or "cut" without the last chunk."""

    def behave(handler: FakeHandler, request: Received) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for document in documents:
            text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
            chunk = f"data: {text}\n\n".encode()
            handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        if end == "reset":
            return reset(handler, request)
        if end == "close":
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = end == "cut"

    return behave


def write_wav(path: Path, seconds: float) -> Path:
    soundfile.write(path, np.zeros(round(seconds * 16_000), np.int16), 16_000)
    return path
