"""A gateway's stand-in as a program of its own, so that it can be killed: PORT DELAY_S LOG.

It logs `S key` when a request begins and `D key` before its answer.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

POISON = b"poison"  # a file that holds it is answered with 500
SEGMENT = {"start": 0.0, "end": 1.5, "temperature": 0.0, "avg_logprob": -0.1} | {
    "compression_ratio": 1.0, "no_speech_prob": 0.0,
}  # fmt: skip


class StandIn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    delay_s = 0.0
    log_file = Path()
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = str(self.headers["Idempotency-Key"])
        self._log(f"S {key}")
        time.sleep(self.delay_s)
        self._log(f"D {key}")
        if POISON in body:
            return self._answer(500, {"error": {"message": "poison", "code": "engine_failure"}})
        text = f"text of {key}"
        segments = [{**SEGMENT, "text": text}]
        self._answer(200, {"text": text, "duration": 1.5, "language": "english", "segments": segments})

    def do_GET(self) -> None:
        self._answer(200, {"data": [{"id": "whisper-1"}]})

    def _log(self, line: str) -> None:
        with self.lock, self.log_file.open("a") as file:
            file.write(f"{line}\n")

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


if __name__ == "__main__":
    port, delay, log = sys.argv[1:]
    StandIn.delay_s, StandIn.log_file = float(delay), Path(log)
    ThreadingHTTPServer(("127.0.0.1", int(port)), StandIn).serve_forever()
