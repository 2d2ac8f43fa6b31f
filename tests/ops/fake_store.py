"""A stand-in for OpenAI's store on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Store:
    """What the server has, how it misbehaves, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    status: int = 200
    resumable: bool = True
    cuts: list[int] = field(
        default_factory=list
    )  # bytes to send before the connection breaks, one per request
    ranges: list[str | None] = field(default_factory=list)


@contextlib.contextmanager
def running_store() -> Iterator[Store]:
    """A server that answers every path with the store's content."""
    state = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = int(asked[6:-1]) if asked and state.resumable else 0
            if start >= len(state.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                last = len(state.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(state.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.close_connection = True
            with contextlib.suppress(ConnectionError):  # the client went away, as in the full-disk test
                self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/model.pt"
    yield state
    server.shutdown()
    server.server_close()
    thread.join(10)
