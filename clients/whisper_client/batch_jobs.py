"""Files and batches of OpenAI's API: transcriptions that go on without their client."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from whisper_client.audio_files import find_audio
from whisper_client.client import refusal_message
from whisper_client.errors import BadArgument, NoServer, ServerRefused, ServerTimeout, ServerUnreachable
from whisper_client.retry import CONNECTION, TIMEOUT, RetryPolicy, parse_retry_after, retry_cause
from whisper_client.transport import BearerToken, checked_token, checked_url, no_server_message

DEFAULT_URL = "http://127.0.0.1:8000/v1"
ENDPOINT = "/v1/audio/transcriptions"
ENDED = ("completed", "failed", "expired", "cancelled")
LOOK_S = 1.0  # between two looks at a batch, at most
LAST_LOOK_S = 0.1  # when it is about to end
UPLOADS_AT_ONCE = 8  # each waits for the server's disk


@dataclass(frozen=True, slots=True)
class LineResult:
    """What became of one file."""

    name: str  # as it was submitted
    body: Any  # the HTTP answer: an object, or the text of another format; None if it failed
    error: str | None


class BatchJobs:
    """Talks to one address that ends in /v1. Every request is safe to repeat, and is repeated. Threads may
    share it."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        *,
        timeout_s: float = 120.0,
        retries: int = RetryPolicy().retries,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = checked_url(url).rstrip("/")
        self._auth = BearerToken(checked_token(token))
        self._local = threading.local()  # one session a thread: sessions are not locked
        self._sessions: list[requests.Session] = []
        self._timeout_s = timeout_s
        self._policy = RetryPolicy(retries=retries)
        self._sleep = sleep

    def upload(self, path: Path) -> str:
        """The id of the file as the server keeps it; raises ClientError."""
        with path.open("rb") as file:
            found = self._send(
                "post", "/files", data={"purpose": "user_data"}, files={"file": (path.name, file)}
            )
        return str(found["id"])

    def upload_all(self, named: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
        """The name and the id of each file, in order, several uploads at a time; raises ClientError."""
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:  # after an error `map` begins no further one
            yield from zip(named, pool.map(self.upload, named.values()), strict=True)

    def submit(
        self, files: Mapping[str, str], options: Mapping[str, Any], metadata: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The new batch over uploaded files, name → id; raises ClientError."""
        lines = [
            {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": {"file_id": file_id, **options}}
            for name, file_id in files.items()
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        form = {"file": ("requests.jsonl", text.encode())}
        input_file = self._send("post", "/files", data={"purpose": "batch"}, files=form)["id"]
        asked = {"input_file_id": input_file, "endpoint": ENDPOINT, "completion_window": "24h"}
        return self._send("post", "/batches", json={**asked, "metadata": dict(metadata or {})})

    def status(self, batch_id: str) -> dict[str, Any]:
        """The batch; raises ClientError."""
        return self._send("get", f"/batches/{batch_id}")

    def list(self, limit: int = 20) -> Sequence[dict[str, Any]]:
        """The newest batches; raises ClientError."""
        found: list[dict[str, Any]] = self._send("get", "/batches", params={"limit": limit})["data"]
        return found

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """The batch, which ends soon; raises ClientError."""
        return self._send("post", f"/batches/{batch_id}/cancel")

    def follow(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """The batch again and again, until it has ended; raises ClientError."""
        batch = self.status(batch_id)
        started, before = time.monotonic(), _num_done(batch)
        while batch["status"] not in ENDED:
            yield batch
            done = _num_done(batch)
            left = batch["request_counts"]["total"] - done
            self._sleep(_pause_s(time.monotonic() - started, done - before, left))
            batch = self.status(batch_id)
        yield batch

    def results(self, batch: Mapping[str, Any]) -> Iterator[LineResult]:
        """What became of each file of a batch that has ended; raises ClientError."""
        for name in (batch["output_file_id"], batch["error_file_id"]):
            if name is not None:
                for text in self._answer("get", f"/files/{name}/content").iter_lines():
                    yield _result(json.loads(text))

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def __enter__(self) -> BatchJobs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.auth = self._auth
            self._sessions.append(session)
        return session

    def _send(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._answer(method, path, **request).json()
        return found

    def _answer(self, method: str, path: str, **request: Any) -> requests.Response:
        """The good answer; raises ServerRefused, ServerUnreachable, NoServer or ServerTimeout."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "post" else {}
        causes: list[str] = []
        while True:
            error: requests.RequestException | None = None
            cause, retry_after_s = None, None
            try:
                response = self._session().request(
                    method, self._url + path, timeout=self._timeout_s, headers=headers, **request
                )
                if response.ok:
                    return response
                cause = retry_cause(response.status_code, response.content)
                retry_after_s = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            except requests.Timeout as late:
                error, cause = late, TIMEOUT
            except requests.ConnectionError as broken:
                error, cause = broken, CONNECTION
            causes.append(cause or "refused")
            wait_s = self._policy.wait_s(causes, retry_after_s, random.random()) if cause else None
            if wait_s is None:
                break
            _rewind(request)
            self._sleep(wait_s)
        tries = len(causes)
        if error is None:
            message = refusal_message(response.status_code, response.content)
            raise ServerRefused(message, status=response.status_code, tries=tries)
        if cause == TIMEOUT:
            raise ServerTimeout(f"no answer from {self._url} within {self._timeout_s:g} s", tries=tries)
        if isinstance(error, requests.exceptions.SSLError):
            raise ServerUnreachable(f"no secure connection to {self._url}", tries=tries)
        raise NoServer(no_server_message(self._url), tries=tries)


def names_of(given: Sequence[str]) -> dict[str, Path]:
    """The audio files of files and folders, each under the name by which its result is found: its path in the
    folder, or its own name; the path as given where two files would have the same name. Raises BadArgument
    for a file that stands twice, and where there is none."""
    files = find_audio(given)
    folders = [Path(one) for one in given if Path(one).is_dir()]
    short = {file: _short_name(file, folders) for file in files}
    counts = Counter(short.values())
    named = {name if counts[name] == 1 else str(file): file for file, name in short.items()}
    if len(named) != len(files):
        raise BadArgument("a file stands twice: each has one result")
    return named


def _short_name(file: Path, folders: Sequence[Path]) -> str:
    folder = next((one for one in folders if file.is_relative_to(one)), file.parent)
    return str(file.relative_to(folder))


def _num_done(batch: Mapping[str, Any]) -> int:
    counts: Mapping[str, int] = batch["request_counts"]
    return counts["completed"] + counts["failed"]


def _pause_s(seconds: float, done: int, left: int) -> float:
    """Half of the time that the rest takes at this rate: the end of a batch is seen soon after it.

    seconds: in which `done` lines were done.
    """
    return min(LOOK_S, max(LAST_LOOK_S, seconds * left / (2 * done))) if done else LOOK_S


def _result(line: Mapping[str, Any]) -> LineResult:
    response, error = line["response"], line["error"]
    if error is None and response["status_code"] == 200:
        return LineResult(line["custom_id"], response["body"], None)
    said = error or response["body"]["error"]
    return LineResult(line["custom_id"], None, said["message"])


def _rewind(request: Mapping[str, Any]) -> None:
    """Has the files of a form sent from their beginning again."""
    for _, content in (request.get("files") or {}).values():
        if not isinstance(content, bytes):
            content.seek(0)
