#!/usr/bin/env python3
"""Measures the real server in a closed loop, against the same engine in-process and against openai-whisper.

Clients send their next request when the last is answered. Windows go to the window path, whole files to the
prediction path; random weights decode a forced number of tokens per window, so that the work is known.
openai-whisper stands behind the same TorchServe, one request at a time. Clients and server share the cores.

    python benchmarks/served.py --clients 1 4 16 64 --seconds 3 10 30 300
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "handler")]

from asr.constants import SAMPLE_RATE, WINDOW_FRAMES  # noqa: E402
from asr.schema import DecodingOptions, Samples, Window  # noqa: E402
from asr.wire import encode_window  # noqa: E402
from benchmarks import models, report  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.peers.engines import WINDOW_SECONDS, Ours  # noqa: E402
from benchmarks.pictures import bars  # noqa: E402
from tests.servers import start_server  # noqa: E402

BATCH = 16
OUTSTANDING = 48  # three batches: what the dispatcher will keep at the server
REQUEST_TIMEOUT_S = 600
MAX_LONG_CLIENTS = 4  # five-minute files hold ten windows each
OURS = {
    "language": "en", "vad_filter": False, "temperature": 0, "temperature_increment_on_fallback": 0,
    "compression_ratio_threshold": "none", "logprob_threshold": "none", "no_speech_threshold": "none",
    "without_timestamps": True,
}  # fmt: skip
UPSTREAM = {
    "language": "en", "temperature": 0.0, "compression_ratio_threshold": None, "logprob_threshold": None,
    "no_speech_threshold": None, "condition_on_previous_text": False, "without_timestamps": True,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Level:
    """One closed loop: what was sent by how many clients, and how it went."""

    what: str
    seconds: float  # of audio in one request
    clients: int
    latencies: tuple[float, ...]  # seconds, sorted
    wall_s: float
    failures: int

    @property
    def throughput(self) -> float:
        """Seconds of audio answered per second."""
        return self.seconds * len(self.latencies) / self.wall_s

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.latencies, share)) if self.latencies else float("nan")


def closed_loop(send: Callable[[], int], clients: int, count: int) -> tuple[list[float], float, int]:
    """Latencies of the good answers, seconds in all, failures; `send` returns the status."""
    latencies: list[float] = []
    failures = 0
    left = iter(range(count))
    lock = threading.Lock()

    def client() -> None:
        nonlocal failures
        while True:
            with lock:
                if next(left, None) is None:
                    return
            begun = time.perf_counter()
            try:
                status = send()
            except requests.RequestException:
                status = 0
            spent = time.perf_counter() - begun
            with lock:
                if status == 200:
                    latencies.append(spent)
                else:
                    failures += 1

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(latencies), time.perf_counter() - begun, failures


def poster(url: str, body: bytes, headers: dict[str, str]) -> Callable[[], int]:
    """A function that sends the request and returns its status; one connection per thread."""
    local = threading.local()

    def send() -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer = local.session.post(url, data=body, headers=headers, timeout=REQUEST_TIMEOUT_S)
        return int(answer.status_code)

    return send


def wav(pcm: Samples) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm.tobytes())
    return buffer.getvalue()


def sound(seconds: float) -> Samples:
    """Sound of that length; long ones repeat 30 s."""
    pcm = models.sounds(1, min(seconds, 30.0))[0]
    return np.tile(pcm, round(seconds / min(seconds, 30.0)))


def num_requests(clients: int, seconds: float) -> int:
    """Enough that every client sends a few, few enough for a minute at most."""
    return clients if seconds > WINDOW_SECONDS else max(6, min(2 * clients, 96))


def levels(what: str, send: Callable[[], int], seconds: float, clients: Sequence[int]) -> list[Level]:
    """One closed loop per number of clients, after one request to warm up."""
    found = []
    status = send()
    if status != 200:
        raise RuntimeError(f"{what}: the first request was answered {status}")
    for number in tqdm(clients, desc=f"{what}, {seconds:g} s", leave=False):
        latencies, wall_s, failures = closed_loop(send, number, num_requests(number, seconds))
        found.append(Level(what, seconds, number, tuple(latencies), wall_s, failures))
    return found


def in_process(path: Path, given: argparse.Namespace) -> list[float]:
    """Seconds of audio per second of the engine alone, batches of 16."""
    engine = Ours(path, given.threads, precision=given.precision, max_batch_size=BATCH)
    windows = models.sounds(BATCH)
    engine.run(windows[:2], 4)
    return [
        WINDOW_SECONDS * BATCH / engine.run(windows, given.tokens).total
        for _ in tqdm(range(given.repetitions), desc="in-process")
    ]


def ours_served(path: Path, folder: Path, given: argparse.Namespace) -> list[Level]:
    """Windows and files through our handler."""
    engine = {"precision": given.precision, "threads": given.threads, "max_batch_size": BATCH}
    config = {"batchSize": BATCH, "handler": {"engine": engine | {"loop_guard": False}}}
    server = start_server(path, folder, model_config=config)
    try:
        options = DecodingOptions(language="en", max_tokens=given.tokens, without_timestamps=True)
        body = encode_window(Window(sound(WINDOW_SECONDS), WINDOW_FRAMES, options))
        headers = {"Content-Type": "application/octet-stream"}
        window = poster(f"{server.predictions}/1.0/windows", body, headers)
        found = levels("window", window, WINDOW_SECONDS, [*given.clients, OUTSTANDING])
        for seconds in given.seconds:
            fields = json.dumps(OURS | {"max_tokens": given.tokens})
            headers = {"Content-Type": "audio/wav", "x-whisper-options": fields}
            clients = [n for n in given.clients if seconds <= WINDOW_SECONDS or n <= MAX_LONG_CLIENTS]
            found += levels(
                "file", poster(server.predictions, wav(sound(seconds)), headers), seconds, clients
            )
        return found
    finally:
        server.stop()


def upstream_served(path: Path, folder: Path, given: argparse.Namespace) -> list[Level]:
    """Files through openai-whisper behind the same server."""
    config = {"batchSize": 1, "maxBatchDelay": 1, "handler": {"engine": {"threads": given.threads}}}
    handler = ROOT / "benchmarks" / "peers" / "upstream_handler"
    server = start_server(path, folder, model_config=config, handler_dir=handler)
    try:
        found: list[Level] = []
        headers = {"Content-Type": "audio/wav"}
        headers["x-whisper-options"] = json.dumps(UPSTREAM | {"sample_len": given.tokens})
        for seconds in given.upstream_seconds:
            clients = [number for number in given.clients if number <= BATCH]
            send = poster(server.predictions, wav(sound(seconds)), headers)
            found += levels("openai-whisper", send, seconds, clients)
        return found
    finally:
        server.stop()


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
            report.table(headers, lines),
            "![Seconds of audio answered per second](performance-served.png)",
            conditions_text(data["conditions"]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--seconds", nargs="+", type=float, default=[3, 10, 30, 300])
    parser.add_argument("--upstream-seconds", nargs="+", type=float, default=[3, 30])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "whisper-benchmark")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    data: dict[str, Any] = {"conditions": conditions(), "size": given.size, "tokens": given.tokens}
    data["precision"] = given.precision
    path = models.checkpoint(given.size, given.checkpoints)
    data["in_process"] = in_process(path, given)
    with tempfile.TemporaryDirectory() as folder:
        found = ours_served(path, Path(folder) / "ours", given)
        found += upstream_served(path, Path(folder) / "upstream", given)
    data["in_process"] += in_process(path, given)  # before and after: the machine may have changed
    names = Level.__dataclass_fields__
    data["levels"] = [{name: getattr(one, name) for name in names} for one in found]
    print(section(data))
    if not given.no_publish:
        report.save("served", data)
        groups: dict[str, dict[str, float]] = {}
        for one in found:
            groups.setdefault(f"{one.what} {one.seconds:g} s", {})[f"{one.clients} clients"] = one.throughput
        picture = report.DOCUMENT.parent / "performance-served.png"
        bars(groups, f"{given.size} sizes: seconds of audio answered per second", picture)
        report.publish("served", section(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
