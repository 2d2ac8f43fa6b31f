"""A receiver of webhooks, which answers as a test says and remembers what it got."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import openai
from standardwebhooks import Webhook

Answer = tuple[int, dict[str, str]]
PATIENCE_S = 60


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def event(self, secret: str) -> dict[str, object]:
        """The event, once OpenAI's client and the standard's library have verified it."""
        Webhook(secret).verify(self.body, self.headers)
        client = openai.OpenAI(api_key="none", webhook_secret=secret)
        return client.webhooks.unwrap(self.body, self.headers).model_dump()


class Receiver(ThreadingHTTPServer):
    """A context manager; `answer` gets the number of the request, from 0."""

    daemon_threads = True

    def __init__(self, answer: Callable[[int], Answer] = lambda _: (200, {})) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.received: list[Received] = []
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    @property
    def ids(self) -> list[str]:
        return [received.id for received in self.received]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            number = len(self.server.received)
            self.server.received.append(Received(self.path, dict(self.headers.items()), body))
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        status, headers = self.server.answer(number)
        with self.server.lock:
            self.server.at_once -= 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


async def arrived(receiver: Receiver, number: int) -> None:
    """Waits until the receiver has this number of requests. Its answers may not be written down yet."""
    await asyncio.to_thread(until, lambda: len(receiver.received) >= number)


def until(reached: Callable[[], object]) -> None:
    """Waits for a state."""
    give_up = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.01)
