"""Ready means that a sample was transcribed; /ping says 200 over dead workers."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from scripts.serve.local import open_local
from scripts.serve.serve_error import ServeError
from scripts.serve.torchserve import TorchServe

POLL_S = 0.25
PROGRESS_S = 5.0
WATCH_S = 15.0
CHECK_S = 1.0
LAST_WORDS_S = 3.0
FAILED_LOADS = ("Backend worker process died.", "Backend worker did not receive connection")
# A worker that is killed, for want of memory say, writes no reason: the frontend's lines are counted.
REFUSED = "Failed to load model:"
DEATH = "Load model failed"
MAX_DEATHS = 2


@dataclass(frozen=True, slots=True)
class Probe:
    """The request that decides, and how to judge its answer."""

    url: str  # …/predictions/whisper
    management_url: str  # …/models/whisper
    sample: Path | None  # None: the canary …/1.0/healthz, for models that cannot know the sample
    reference: str | None = None  # its words, if the model must hear them
    key_file: Path | None = None  # where token authorization is on
    alone: bool = True  # whether no other model's workers write into the same logs

    @property
    def name(self) -> str:
        """The model's, in TorchServe."""
        return self.url.rpartition("/")[2]


def wait_until_ready(
    server: TorchServe,
    probe: Probe,
    timeout_s: float,
    say: Callable[[str], None] = lambda line: None,
    check: Callable[[], None] = lambda: None,
) -> str:
    """The text of the sample, once the server transcribed it; raises ServeError with the reason otherwise.

    `check` is called at every look, and may raise what else ends the wait.
    """
    started = time.monotonic()
    shown = started
    last = "no answer yet"
    while (elapsed := time.monotonic() - started) < timeout_s:
        check_alive(server, probe)
        check()
        try:
            # A request posted during the load would wait in the queue; the load's failure would not be seen.
            _expect_worker(probe)
            return _judge(_ask(probe, timeout_s - elapsed), probe)
        except _NotYet as error:
            last = str(error)
        if time.monotonic() - shown >= PROGRESS_S:
            shown = time.monotonic()
            say(f"waiting for the first transcription, {elapsed:.0f} s: {last}")
        time.sleep(POLL_S)
    raise ServeError(
        f"not ready after {timeout_s:.0f} s ({last}): see {server.paths.log_dir}/model.log, "
        f"or raise --startup-timeout"
    )


def watch(
    server: TorchServe, probe: Probe, poll_s: float = WATCH_S, check: Callable[[], None] = lambda: None
) -> NoReturn:
    """Raises ServerEnded when the ready server ends, or when TorchServe has given up on its workers.

    `check` is called every second, and may raise what else ends the watch.

    After maxRetryTimeoutInSec of failed restarts it starts no worker any more and lets requests hang. What
    shows it: /ping answers 500, as it does during a slow restart too, and there is no worker process. Ended,
    it can be started anew.
    """
    refusals = 0
    while server.returncode is None:
        pause_ends = time.monotonic() + poll_s
        while server.returncode is None and (left := pause_ends - time.monotonic()) > 0:
            server.wait(min(left, CHECK_S))
            check()
        try:
            _request(
                probe, "inference", probe.url.replace("/predictions/whisper", "/ping"), None, timeout_s=30
            )
            refusals = 0
        except (_NotYet, ServeError) as error:
            refusals = refusals + 1 if "HTTP 500" in str(error) and not server.has_workers() else 0
        if refusals >= 2:
            raise ServerEnded(
                f"TorchServe gave up on its workers: {load_error(_written_log(server))}; "
                f"see {server.paths.log_dir}/model.log"
            )
    log = f"{server.paths.log_dir}/server.log"
    raise ServerEnded(f"TorchServe ended by itself with status {server.returncode}: see {log}")


def wait_for_another(server: TorchServe, probe: Probe, name: str, timeout_s: float) -> str:
    """One line about a model beside the default one: that it is ready, or why it alone is not."""
    try:
        return f"READY: {name} transcribed the sample: {wait_until_ready(server, probe, timeout_s)[:80]!r}"
    except ServeError as error:
        if server.returncode is not None:
            raise
        return f"{name} is not served, the other models are: {error}"


def check_alive(server: TorchServe, probe: Probe) -> None:
    """Raises ServeError, with the reason from the logs, if Java ended or the worker cannot load its model."""
    model_log = server.log_text("model.log")
    if probe.alone and any(sign in model_log for sign in FAILED_LOADS):
        raise ServeError(f"the worker could not load the model: {load_error(_written_log(server))}")
    server_log = server.log_text("server.log")
    if server.returncode is not None:
        raise ServeError(f"TorchServe ended with status {server.returncode}: {_last_line(server_log)}")
    if REFUSED in server_log:
        raise ServeError(f"TorchServe refused whisper.mar: {_line_with(server_log, REFUSED)}")
    if server_log.count(DEATH if probe.alone else f"{DEATH}: {probe.name},") >= MAX_DEATHS:
        if any(sign in model_log for sign in FAILED_LOADS):
            raise ServeError(f"the worker could not load {probe.name}: {load_error(_written_log(server))}")
        raise ServeError(
            f"the worker died {MAX_DEATHS} times while loading, without a reason of its own: is there memory "
            f"enough for this model? Its last line: {_last_line(model_log)}"
        )


def load_error(model_log: str) -> str:
    """The exception that ended a worker: the last line of its last traceback."""
    found = _exceptions(model_log)
    return found[-1].strip() if found else _last_line(model_log)


def _exceptions(model_log: str) -> list[str]:
    found = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b.*$", model_log, re.MULTILINE)
    # Where an import fails in the handler, TorchServe goes on to say that it has no handler of that name.
    return [line for line in found if "ts.torch_handler" not in line]


def _written_log(server: TorchServe) -> str:
    """The workers' log once it names an exception and stands still; as it is, where that does not come.

    TorchServe copies a worker's words line by line: the death can be seen before the traceback's last line.
    """
    give_up = time.monotonic() + LAST_WORDS_S
    text = server.log_text("model.log")
    while time.monotonic() < give_up:
        time.sleep(POLL_S)
        before, text = text, server.log_text("model.log")
        if text == before and _exceptions(text):
            break
    return text


class ServerEnded(ServeError):
    """A server that was ready serves no longer; another start may help."""


class _NotYet(Exception):
    """Ask again: the reason is for the progress line."""


def read_key(key_file: Path, api: str) -> str:
    """The key that TorchServe wrote for "inference" or "management"; OSError or ValueError until it has."""
    return str(json.loads(key_file.read_text())[api]["key"])


def _expect_worker(probe: Probe) -> None:
    """Raises _NotYet until the management API knows a loaded worker."""
    answer = json.loads(_request(probe, "management", probe.management_url, None, timeout_s=10))
    states = [worker.get("status") for worker in answer[0].get("workers", [])]
    if "READY" not in states:
        raise _NotYet("the model is loading")


def _ask(probe: Probe, timeout_s: float) -> str:
    """Body of the answer to the probe; raises _NotYet, or ServeError when asking again cannot help."""
    if probe.sample is None:
        return _request(probe, "inference", f"{probe.url}/1.0/healthz", None, timeout_s)
    return _request(probe, "inference", probe.url, probe.sample.read_bytes(), timeout_s)


def _request(probe: Probe, api: str, url: str, body: bytes | None, timeout_s: float) -> str:
    headers = {"Content-Type": "application/octet-stream"} if body else {}
    try:
        if probe.key_file is not None:
            headers["Authorization"] = f"Bearer {read_key(probe.key_file, api)}"
        with open_local(urllib.request.Request(url, body, headers), timeout_s) as response:
            return bytes(response.read()).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        text = " ".join(error.read().decode("utf-8", "replace").split())[:300]
        if error.code in (404, 500, 503, 507):  # not registered yet, worker starting or starting again
            raise _NotYet(f"HTTP {error.code} {text}") from error
        raise ServeError(f"{url} was answered with HTTP {error.code}: {text}") from error
    except (OSError, ValueError) as error:  # nothing listens yet, or the keys are not written yet
        raise _NotYet("TorchServe is starting") from error


def _judge(body: str, probe: Probe) -> str:
    """The text in the answer; raises ServeError if there is none, or if it differs from the reference."""
    if probe.sample is None:
        return body
    try:
        text = str(json.loads(body)["text"]).strip()
    except (ValueError, KeyError, TypeError) as error:
        raise ServeError(f"the sample's answer is not a transcript: {body[:200]!r}") from error
    if not text:
        raise ServeError(f"the model heard nothing in {probe.sample}: it is not usable for speech")
    if probe.reference is not None and not _resembles(text, probe.reference):
        raise ServeError(f"the model heard {text!r} in {probe.sample.name}, expected {probe.reference!r}")
    return text


def _resembles(text: str, reference: str) -> bool:
    """Whether half of the reference's words are in the text: a check of the set-up, not of quality."""
    words, heard = (set(re.findall(r"\w+", one.casefold())) for one in (reference, text))
    return len(words & heard) * 2 >= len(words)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing in its log"


def _line_with(text: str, sign: str) -> str:
    return next((line.strip()[:300] for line in text.splitlines() if sign in line), sign)
