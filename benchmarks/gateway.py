#!/usr/bin/env python3
"""What the gateway costs: the same audio as windows straight to TorchServe, and as files through the gateway.

Real speech and the demo checkpoint; the windows sent directly are those that the gateway makes of the file.
Both ways take turns, against one server.

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
sys.path[:0] = [str(ROOT)]

from asr.audio.prepare import prepare  # noqa: E402
from asr.config import Limits  # noqa: E402
from asr.engine import ModelSpec  # noqa: E402
from asr.request.options import GuardOptions, RequestOptions  # noqa: E402
from asr.schema import DecodingOptions  # noqa: E402
from asr.sessions import open_session  # noqa: E402
from asr.wire.messages import encode_window  # noqa: E402
from benchmarks import report  # noqa: E402
from benchmarks.closed_loop import closed_loop, poster, wav  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.seeded import speech  # noqa: E402
from benchmarks.served import BATCH  # noqa: E402
from tests.live.faults.stack import DEMO, Gateway  # noqa: E402
from tests.servers import Server, start_server  # noqa: E402

SHORT_S, LONG_S = 3.0, 28.0  # the speech pauses after 28 s: one window, which needs no second one
SPEC = ModelSpec("demo", multilingual=True, num_languages=99, n_mels=80, n_text_ctx=448)
CLIENTS = 16
OPTIONS = RequestOptions(
    DecodingOptions(language="en"),
    temperatures=(0.0,),
    guards=GuardOptions(None, None, None),  # one try for every window
)
FORM = {
    "model": "whisper-1", "language": "en", "temperature_increment_on_fallback": "0",
    "compression_ratio_threshold": "none", "logprob_threshold": "none", "no_speech_threshold": "none",
}  # fmt: skip
FILE_S = 600.0
MAX_EXTRA_MS, MIN_SHARE, MAX_FIRST_S = 15.0, 0.9, 2.0
Send = Callable[[], int]


def direct(server: Server, seconds: float) -> Send:
    """Sends the window that the gateway makes of a file of that length."""
    session = open_session(prepare(wav(speech(seconds)), OPTIONS, Limits()), OPTIONS, SPEC)
    (offer,) = session.offers()
    headers = {"Content-Type": "application/octet-stream"}
    return poster(f"{server.predictions}/1.0/windows", encode_window(offer.window), headers)


def form_of(seconds: float, url: str, **more: str) -> requests.PreparedRequest:
    """A file of that length as OpenAI's clients send it."""
    files = {"file": ("a.wav", wav(speech(seconds)), "audio/wav")}
    return requests.Request("POST", url, data=FORM | more, files=files).prepare()


def through(gateway: Gateway, seconds: float) -> Send:
    """Sends the file; encoded once, because clients are not measured."""
    url = f"{gateway.url}/v1/audio/transcriptions"
    request = form_of(seconds, url)
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


def first_event(gateway: Gateway) -> float:
    """Seconds from sending a file of FILE_S seconds to the first event of its stream."""
    request = form_of(FILE_S, f"{gateway.url}/v1/audio/transcriptions", stream="true")
    with requests.Session() as session:
        begun = time.perf_counter()
        with session.send(request, stream=True, timeout=600) as answer:
            answer.raise_for_status()
            next(answer.iter_content(1))
            return time.perf_counter() - begun


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
    batch_s = BATCH * LONG_S / full["direct"].median
    limit = MAX_FIRST_S + 2 * batch_s
    rows.append(
        [
            f"first event of a {FILE_S:g} s file, in s",
            f"two batches: {2 * batch_s:.1f}",
            f"{data['first_event_s']:.1f}",
            "",
            f"≤ {limit:.1f} s: {'met' if data['first_event_s'] <= limit else 'missed'}",
        ]
    )
    return "\n\n".join(
        [
            "### Through the gateway, demo checkpoint",
            report.table(["", "windows, direct", "files, gateway", "difference", "target"], rows),
            conditions_text(data["conditions"]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30, help="single requests each way")
    parser.add_argument("--full-rounds", type=int, default=3, help="runs with all clients each way")
    parser.add_argument("--requests", type=int, default=64, help="of one such run")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    data: dict[str, Any] = {"conditions": conditions()}
    engine = {"threads": given.threads, "max_batch_size": BATCH, "loop_guard": True}
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(
            DEMO, Path(folder) / "server", model_config={"batchSize": BATCH, "handler": {"engine": engine}}
        )
        gateway = Gateway(Path(folder), [server])
        try:
            gateway.wait_until(gateway.is_ready, "ready")
            short = {
                "direct": direct(server, SHORT_S),
                "gateway": through(gateway, SHORT_S),
            }
            long = {
                "direct": direct(server, LONG_S),
                "gateway": through(gateway, LONG_S),
            }
            data["latency_ms"] = latencies(short, given.rounds)
            data["throughput"] = throughputs(long, given.full_rounds, given.requests)
            data["first_event_s"] = first_event(gateway)
        finally:
            gateway.stop()
            server.stop()
    report.hand_over("gateway", data, section(data), keep=not given.no_publish)
    print({name: round(statistics.median(values), 1) for name, values in data["latency_ms"].items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
