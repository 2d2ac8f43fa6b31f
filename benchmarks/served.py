#!/usr/bin/env python3
"""Measures the real server in a closed loop against the same engine in-process.

Clients send their next request when the last is answered. Windows go to the window path, with random weights
that decode a forced number of tokens. Whole files are real speech for the demo checkpoint, because a window
at a forced cap would be sought again; each must come to the windows and tokens that it comes to in-process.
Clients and server share the cores.

    python benchmarks/served.py --clients 1 4 16 64 --seconds 3 10 30 300
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from asr.audio.prepare import prepare  # noqa: E402
from asr.config import EngineConfig, Limits  # noqa: E402
from asr.constants import WINDOW_FRAMES  # noqa: E402
from asr.engine import Engine  # noqa: E402
from asr.engines.loading import load_engine  # noqa: E402
from asr.request.options import GuardOptions, RequestOptions  # noqa: E402
from asr.schema import DecodingOptions, Window  # noqa: E402
from asr.sessions import open_session  # noqa: E402
from asr.sessions.driver import drive  # noqa: E402
from asr.wire.messages import decode_hypothesis, encode_window  # noqa: E402
from benchmarks import report, seeded  # noqa: E402
from benchmarks.closed_loop import Level, levels, poster, wav  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.peers.engines import WINDOW_SECONDS, Ours  # noqa: E402
from tests.servers import Server, start_server  # noqa: E402

BATCH = 16
OUTSTANDING = 48  # three batches, as the dispatcher keeps at the server
WARM_UP = 96
MAX_LONG_CLIENTS = 4  # five-minute files hold ten windows each
DEMO = ROOT / "whisper-models" / "demo.pt"
# one try for every window; `IN_PROCESS` and `OURS` say the same
IN_PROCESS = RequestOptions(DecodingOptions(language="en"), (0.0,), GuardOptions(None, None, None))
OURS = {
    "language": "en", "temperature": 0, "temperature_increment_on_fallback": 0,
    "compression_ratio_threshold": "none", "logprob_threshold": "none", "no_speech_threshold": "none",
    "response_format": "verbose_json",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """The work that one file causes."""

    windows: int
    tokens: int


def in_process(path: Path, given: argparse.Namespace) -> list[float]:
    """Seconds of audio per second of the engine alone, batches of 16."""
    engine = Ours(path, given.threads, precision=given.precision, max_batch_size=BATCH)
    windows = seeded.sounds(BATCH)
    engine.run(windows[:2], 4)
    return [
        WINDOW_SECONDS * BATCH / engine.run(windows, given.tokens).total
        for _ in tqdm(range(given.repetitions), desc="in-process")
    ]


def demo_engine(given: argparse.Namespace) -> Engine:
    return load_engine(
        EngineConfig(str(DEMO), device="cpu", precision=given.precision, threads=given.threads)
    )


def files_in_process(engine: Engine, seconds: float, count: int) -> tuple[Work, float]:
    """The work that one such file causes, and the seconds that `count` of them take from bytes to text."""
    body = wav(seeded.speech(seconds))
    begun = time.perf_counter()
    prepared = [prepare(body, IN_PROCESS, Limits()) for _ in range(count)]
    sessions = [open_session(one, IN_PROCESS, engine.spec) for one in prepared]
    drive(engine, sessions)
    spent = time.perf_counter() - begun
    if sessions[0].error is not None:
        raise sessions[0].error
    transcript = sessions[0].transcript()
    return Work(transcript.stats.windows, sum(len(one.tokens) for one in transcript.segments)), spent


def served_work(server: Server, body: bytes, headers: dict[str, str]) -> Work:
    """The work that one file causes at the server: tokens from its answer, windows from its log."""
    answer = requests.post(server.predictions, data=body, headers=headers, timeout=600)
    answer.raise_for_status()
    tokens = sum(len(segment["tokens"]) for segment in answer.json()["segments"])
    request_id = answer.headers["x-request-id"]
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        for line in server.model_log.read_text(encoding="utf-8").splitlines():
            if request_id in line and '"windows"' in line:
                return Work(json.loads(line[line.index("{") :])["windows"], tokens)
        time.sleep(0.2)
    raise RuntimeError(f"the server's log does not tell of request {request_id}")


def must_be(found: Work, wanted: Work, what: str) -> None:
    if found != wanted:
        raise RuntimeError(f"{what} came to {found} over HTTP, to {wanted} in-process")


def engine_settings(given: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """Model configuration of our server."""
    engine = {"precision": given.precision, "threads": given.threads, "max_batch_size": BATCH} | more
    return {"batchSize": BATCH, "handler": {"engine": engine}}


def windows_served(path: Path, folder: Path, given: argparse.Namespace) -> list[Level]:
    """Windows with a forced number of tokens through our handler."""
    config = engine_settings(given, loop_guard=False)  # random weights repeat themselves
    server = start_server(path, folder, model_config=config)
    try:
        options = DecodingOptions(language="en", max_tokens=given.tokens, without_timestamps=True)
        pcm = seeded.sounds(1)[0]
        body = encode_window(Window(pcm, WINDOW_FRAMES, options))
        headers = {"Content-Type": "application/octet-stream"}
        url = f"{server.predictions}/1.0/windows"
        answer = requests.post(url, data=body, headers=headers, timeout=600)
        answer.raise_for_status()
        tokens = len(decode_hypothesis(answer.content).tokens)
        must_be(Work(1, tokens), Work(1, given.tokens), "a window")
        send = poster(url, body, headers)
        return levels("window", send, WINDOW_SECONDS, [*given.clients, OUTSTANDING], warm_up=WARM_UP)
    finally:
        server.stop()


def files_served(folder: Path, given: argparse.Namespace) -> tuple[list[Level], dict[str, Any]]:
    """Files through our handler; and the work and the time of the same files in-process."""
    engine = demo_engine(given)
    alone: dict[str, Any] = {}
    for seconds in tqdm(given.seconds, desc="files in-process"):
        work, _ = files_in_process(engine, seconds, 1)  # warm-up, and the same batches as one request's
        count = BATCH if seconds <= WINDOW_SECONDS else 2
        spent = files_in_process(engine, seconds, count)[1]
        alone[f"{seconds:g}"] = {
            "windows": work.windows,
            "tokens": work.tokens,
            "rate": seconds * count / spent,
        }
    server = start_server(DEMO, folder, model_config=engine_settings(given))
    try:
        found: list[Level] = []
        headers = {"Content-Type": "audio/wav", "x-whisper-options": json.dumps(OURS)}
        for seconds in given.seconds:
            body, known = wav(seeded.speech(seconds)), alone[f"{seconds:g}"]
            wanted = Work(known["windows"], known["tokens"])
            must_be(served_work(server, body, headers), wanted, f"a file of {seconds:g} s")
            clients = [n for n in given.clients if seconds <= WINDOW_SECONDS or n <= MAX_LONG_CLIENTS]
            found += levels("file", poster(server.predictions, body, headers), seconds, clients)
        return found, alone
    finally:
        server.stop()


def files_table(alone: dict[str, Any], found: Sequence[Level]) -> str:
    """Files in-process and over HTTP with the most clients: the same work, so the rates may be compared."""
    lines = []
    for seconds, known in alone.items():
        rates = [one.throughput for one in found if one.what == "file" and f"{one.seconds:g}" == seconds]
        share = f"{100 * max(rates) / known['rate']:.0f} %"
        rate = f"{known['rate']:.1f}"
        lines.append([f"{seconds} s", known["windows"], known["tokens"], rate, f"{max(rates):.1f}", share])
    headers = ["file", "windows", "tokens", "in-process, audio s per s", "over HTTP, best", "share"]
    return report.table(headers, lines)


def section(data: dict[str, Any]) -> str:
    """The Markdown: throughput and latency by kind of request and number of clients."""
    found = [Level(**(row | {"latencies": tuple(row["latencies"])})) for row in data["levels"]]
    alone = report.Spread.of(data["in_process"])
    lines = [
        [
            f"{one.what}, {one.seconds:g} s",
            one.clients,
            f"{len(one.latencies)}",
            one.failures,
            f"{one.throughput:.1f}",
            *(f"{one.quantile(share):.2f}" for share in (0.5, 0.95, 0.99)),
        ]
        for one in found
    ]
    headers = ["request", "clients", "answered", "failed", "audio s per s", "p50 s", "p95 s", "p99 s"]
    full = [one for one in found if one.what == "window" and one.clients == OUTSTANDING]
    share = f"{100 * full[0].throughput / alone.median:.0f} %" if full else "not measured"
    return "\n\n".join(
        [
            f"### Served over HTTP, {data['size']} sizes, {data['precision']}, {data['tokens']} tokens",
            f"The engine in-process, batches of {BATCH}: {alone.text(1)} seconds of audio per second "
            f"({alone.count} repetitions). {OUTSTANDING} outstanding windows over HTTP reach {share} of it.",
            f"Files, demo checkpoint, one try per window; in-process {BATCH} together, two of the longest.",
            files_table(data["files_in_process"], found),
            "All levels; windows have random weights, files the demo checkpoint's.",
            report.table(headers, lines),
            conditions_text(data["conditions"]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--seconds", nargs="+", type=float, default=[3, 10, 30, 300])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "whisper-benchmark")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    data: dict[str, Any] = {"conditions": conditions(), "size": given.size, "tokens": given.tokens}
    data["precision"] = given.precision
    path = seeded.checkpoint(given.size, given.checkpoints)
    data["in_process"] = in_process(path, given)
    with tempfile.TemporaryDirectory() as folder:
        found = windows_served(path, Path(folder) / "windows", given)
        data["in_process"] += in_process(path, given)  # before and after: the machine may have changed
        files, data["files_in_process"] = files_served(Path(folder) / "files", given)
        found += files
    names = Level.__dataclass_fields__
    data["levels"] = [{name: getattr(one, name) for name in names} for one in found]
    report.hand_over("served", data, section(data), keep=not given.no_publish)
    return 0


if __name__ == "__main__":
    sys.exit(main())
