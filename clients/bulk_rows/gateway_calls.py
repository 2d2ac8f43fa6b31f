"""One entry sent to one of several gateways until it has an answer: entry → row."""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from bulk_rows import places
from bulk_rows.entries import Entry
from bulk_rows.rows import Row, row_of_failure, row_of_reply
from whisper_client.client import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, Reply, WhisperClient
from whisper_client.errors import ClientError, NoServer, ServerUnreachable
from whisper_client.form import read_upload
from whisper_client.transport import CONNECT_TIMEOUT_S, no_server_message

DEFAULT_PATIENCE_S = 600.0  # outlasts the restart of a machine
BUSY = (429, 502, 503, 504)  # the server's state, not the file's fault
PAUSE_S = 2.0  # before the next gateway


class GatewayCalls:
    """Calls gateways in turn; may be shared by threads. `sleep` and `now` are there for tests.

    The client's own retries come first: they honour Retry-After and bound the tries of a file that kills
    workers. While every gateway is away or busy, calls go on for `patience_s`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        token: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        patience_s: float = DEFAULT_PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients = [WhisperClient(url, token, timeout_s=timeout_s, retries=retries) for url in urls]
        # each process begins at another gateway
        self._turns = itertools.count(random.randrange(len(urls)))
        self._models: dict[str | None, str] = {}
        self._patience_s = patience_s
        self._sleep, self._now = sleep, now

    def __call__(self, entry: Entry) -> Row:
        """The entry's row; never raises for what is wrong with a file or a server."""
        attempts = 0
        deadline = self._now() + self._patience_s
        while True:
            client = self._clients[next(self._turns) % len(self._clients)]
            pause_s = PAUSE_S
            try:
                reply = self._send(client, entry)
            except ServerUnreachable as error:
                attempts += error.tries
                row = row_of_failure(entry, error, attempts)
            except ClientError as error:
                return row_of_failure(entry, error, attempts + error.tries)
            else:
                attempts += reply.tries
                row = row_of_reply(entry, reply, reply.model or self._model(client, entry), attempts)
                if reply.status not in BUSY:
                    return row
                pause_s = max(PAUSE_S, reply.retry_after_s or 0.0)
            if self._now() + pause_s > deadline:
                return row
            self._sleep(pause_s)

    def check(self) -> None:
        """Raises NoServer if no gateway takes connections."""
        if not any(_is_open(client.url) for client in self._clients):
            raise NoServer(no_server_message(", ".join(client.url for client in self._clients)))

    def _send(self, client: WhisperClient, entry: Entry) -> Reply:
        options = {**entry.options, "response_format": "verbose_json"}
        upload = read_upload(places.read_bytes(entry.path), places.name_of(entry.path))
        return client.send(client.form(upload, **options), idempotency_key=entry.id)

    def _model(self, client: WhisperClient, entry: Entry) -> str | None:
        """The model of a server whose answers do not name it: its own name for it, asked once, or the
        entry's."""
        asked = entry.options.get("model")
        if asked not in self._models:
            described = client.describe(asked) or {}
            name = described.get("id") or described.get("name")
            if name is None:
                return asked
            self._models[asked] = str(name)
        return self._models[asked]


def _is_open(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
