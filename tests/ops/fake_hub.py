"""A stand-in for Hugging Face on this machine: what huggingface_hub asks for to download a model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Answers(BaseHTTPRequestHandler):
    """One connection; the server has `models` and writes into `downloaded`."""

    protocol_version = "HTTP/1.1"
    models: ClassVar[Mapping[str, Mapping[str, bytes]]]
    downloaded: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        if path.startswith("api/models/"):
            name = "/".join(path.split("/")[2:4])
            facts = _listing(name, self.models[name]) if name in self.models else None
            part = facts if facts is None or "/tree/" not in path else facts["tree"]
            self._answer(None if part is None else json.dumps(part).encode())
            return
        name, _, file = path.partition(f"/resolve/{REVISION}/")
        content = self.models.get(name, {}).get(file)
        if self.command == "GET" and content is not None:
            self.downloaded.append(f"{name}/{file}")
        self._answer(content)

    def _answer(self, content: bytes | None) -> None:
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        body = content or b"{}"
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the tests read what came back."""


@contextlib.contextmanager
def running_hub(models: Mapping[str, Mapping[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """(address, files that were downloaded) of a server with these models: name → file → content."""
    downloaded: list[str] = []
    handler = type("Handler", (Answers,), {"models": models, "downloaded": downloaded})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", downloaded
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _listing(name: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What the hub says of a model, and under `tree` what it says of its files."""
    oids = {file: hashlib.sha1(content).hexdigest() for file, content in files.items()}
    tree = [{"type": "file", "path": file, "size": len(files[file]), "oid": oids[file]} for file in files]
    siblings = [{"rfilename": file} for file in files]
    return {
        "id": name,
        "modelId": name,
        "sha": REVISION,
        "private": False,
        "siblings": siblings,
        "tree": tree,
    }
