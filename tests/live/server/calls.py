"""Requests to the server under test, once or until they are answered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import requests

from tests.servers import Server

TIMEOUT_S = 120
# Scaling down, TorchServe was seen to drop a request without a word: a client must not wait for ever.
SILENCE_S = 40
RETRY_FOR_S = 150
RETRY_PAUSE_S = 0.3
# Detection, fallbacks and guards off: one decoding per window, so that answers are quick and comparable.
PLAIN = {
    "language": "en",
    "vad_filter": "false",
    "temperature_increment_on_fallback": "0",
    "no_speech_threshold": "none",
    "max_tokens": "10",
}
PLAIN_JSON = {
    "language": "en",
    "vad_filter": False,
    "temperature_increment_on_fallback": 0,
    "no_speech_threshold": "none",
    "max_tokens": 10,
}


@dataclass(frozen=True)
class Attempts:
    """One request that was sent until it was answered."""

    response: requests.Response
    causes: tuple[str, ...]  # why the attempts before failed


@dataclass(frozen=True)
class Api:
    """The handler's paths over HTTP."""

    server: Server

    def url(self, path: str = "") -> str:
        return f"{self.server.predictions}/1.0/{path}" if path else self.server.predictions

    def send(self, path: str = "", *, method: str = "POST", **arguments: Any) -> requests.Response:
        return requests.request(method, self.url(path), **{"timeout": TIMEOUT_S, **arguments})

    def form(self, audio: bytes, path: str = "", **fields: Any) -> requests.Response:
        return self.send(path, files={"file": ("speech.wav", audio)}, data={**PLAIN, **fields})

    def form_until_answered(self, audio: bytes, **fields: Any) -> Attempts:
        """Retries what a client should: 503, 507, a worker that died, a broken connection, silence."""
        give_up = time.monotonic() + RETRY_FOR_S
        causes: list[str] = []
        while True:
            try:
                upload = {"file": ("speech.wav", audio)}
                response = self.send(files=upload, data={**PLAIN, **fields}, timeout=SILENCE_S)
                cause = _retry_cause(response)
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                cause = type(error).__name__
            if cause is None:
                return Attempts(response, tuple(causes))
            causes.append(cause)
            assert time.monotonic() < give_up, f"no answer after {causes}"
            time.sleep(RETRY_PAUSE_S)

    def counters(self) -> dict[str, float]:
        """Every sample of the metrics address: `name{labels}` → value."""
        text = requests.get(f"{self.server.metrics}/metrics", timeout=30).text
        found: dict[str, float] = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found


def _retry_cause(response: requests.Response) -> str | None:
    if response.status_code in (503, 507):
        return str(response.status_code)
    if response.status_code == 500 and "Worker died" in response.text:
        return "worker died"
    return None
