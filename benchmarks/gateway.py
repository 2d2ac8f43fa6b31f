#!/usr/bin/env python3
"""What the gateway costs: the same audio as windows straight to TorchServe, and as files through the gateway.

Random weights decode a forced number of tokens per window. Both ways take turns, against one server.

    python benchmarks/gateway.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "handler")]

from asr.constants import FRAMES_PER_SECOND  # noqa: E402
from asr.schema import DecodingOptions, Window  # noqa: E402
from asr.wire import encode_window  # noqa: E402
from benchmarks import models, report  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.served import BATCH, closed_loop, poster, sound, wav  # noqa: E402
from tests.faults.stack import Gateway  # noqa: E402
from tests.servers import Server, start_server  # noqa: E402

SHORT_S, LONG_S = 3.0, 30.0
CLIENTS = 16
FORM = {
    "model": "whisper-1", "language": "en", "vad_filter": "false", "temperature": "0",
    "temperature_increment_on_fallback": "0", "compression_ratio_threshold": "none",
    "logprob_threshold": "none", "no_speech_threshold": "none", "without_timestamps": "true",
}  # fmt: skip
MAX_EXTRA_MS, MIN_SHARE = 15.0, 0.9
Send = Callable[[], int]


def direct(server: Server, seconds: float, tokens: int) -> Send:
    """Sends the window that the gateway makes of a file of that length."""
    options = DecodingOptions(language="en", max_tokens=tokens, without_timestamps=True)
    window = Window(sound(seconds), round(seconds * FRAMES_PER_SECOND), options)
    headers = {"Content-Type": "application/octet-stream"}
    return poster(f"{server.predictions}/1.0/windows", encode_window(window), headers)


def through(gateway: Gateway, seconds: float, tokens: int) -> Send:
    """Sends a file of that length as OpenAI's clients do; encoded once, because clients are not measured."""
    form = FORM | {"max_tokens": str(tokens)}
    files = {"file": ("a.wav", wav(sound(seconds)), "audio/wav")}
    url = f"{gateway.url}/v1/audio/transcriptions"
    request = requests.Request("POST", url, data=form, files=files).prepare()
    assert isinstance(request.body, bytes)
    return poster(url, request.body, {"Content-Type": str(request.headers["Content-Type"])})


def latencies(ways: dict[str, Send], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of single requests, the ways in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in tqdm(range(rounds + 3), desc=f"{SHORT_S:g} s clip alone"):
        for name, send in ways.items():
            begun = time.perf_counter()
            status = send()
            if status != 200:
                raise RuntimeError(f"{name}: answered {status}")
            if number >= 3:  # the first ones warm up
                found[name].append(1000 * (time.perf_counter() - begun))
    return found


def throughputs(ways: dict[str, Send], rounds: int, requests_each: int) -> dict[str, list[float]]:
    """Seconds of audio per second with CLIENTS clients, the ways in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in tqdm(range(rounds + 1), desc=f"{CLIENTS} clients of {LONG_S:g} s"):
        for name, send in ways.items():
            _, wall_s, failures = closed_loop(send, CLIENTS, requests_each if number else CLIENTS)
            if failures:
                raise RuntimeError(f"{name}: {failures} requests failed")
            if number:
                found[name].append(LONG_S * requests_each / wall_s)
    return found


def section(data: dict[str, Any]) -> str:
    """The Markdown: both comparisons with their verdicts."""
    alone = {name: report.Spread.of(values) for name, values in data["latency_ms"].items()}
    full = {name: report.Spread.of(values) for name, values in data["throughput"].items()}
    extra = alone["gateway"].median - alone["direct"].median
    share = full["gateway"].median / full["direct"].median
    rows = [
        [
            f"one {SHORT_S:g} s clip, p50 in ms",
            *(alone[name].text(1) for name in ("direct", "gateway")),
            f"+{extra:.1f} ms",
            f"≤ +{MAX_EXTRA_MS:g} ms: {'met' if extra <= MAX_EXTRA_MS else 'missed'}",
        ],
        [
            f"{CLIENTS} clients of {LONG_S:g} s, audio s per s",
            *(full[name].text(1) for name in ("direct", "gateway")),
            f"{100 * share:.0f} %",
            f"≥ {100 * MIN_SHARE:g} %: {'met' if share >= MIN_SHARE else 'missed'}",
        ],
    ]
    return "\n\n".join(
        [
            f"### Through the gateway, {data['size']} sizes, {data['tokens']} tokens",
            report.table(["", "windows, direct", "files, gateway", "difference", "target"], rows),
            conditions_text(data["conditions"]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30, help="single requests each way")
    parser.add_argument("--full-rounds", type=int, default=3, help="runs with all clients each way")
    parser.add_argument("--requests", type=int, default=64, help="of one such run")
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "whisper-benchmark")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    data: dict[str, Any] = {"conditions": conditions(), "size": given.size, "tokens": given.tokens}
    path = models.checkpoint(given.size, given.checkpoints)
    engine = {"threads": given.threads, "max_batch_size": BATCH, "loop_guard": False}
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(
            path, Path(folder) / "server", model_config={"batchSize": BATCH, "handler": {"engine": engine}}
        )
        gateway = Gateway(Path(folder), [server])
        try:
            gateway.wait_ready()
            short = {
                "direct": direct(server, SHORT_S, given.tokens),
                "gateway": through(gateway, SHORT_S, given.tokens),
            }
            long = {
                "direct": direct(server, LONG_S, given.tokens),
                "gateway": through(gateway, LONG_S, given.tokens),
            }
            data["latency_ms"] = latencies(short, given.rounds)
            data["throughput"] = throughputs(long, given.full_rounds, given.requests)
        finally:
            gateway.stop()
            server.stop()
    print(section(data))
    print({name: round(statistics.median(values), 1) for name, values in data["latency_ms"].items()})
    if not given.no_publish:
        report.save("gateway", data)
        report.publish("gateway", section(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
