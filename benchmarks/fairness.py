#!/usr/bin/env python3
"""How long does a 3 s clip wait while four 20-minute files are transcribed?

Clips are sent one after the other through the gateway's dispatcher, first alone, then beside the files, which
start again when they end. Fair means: the 95th percentile beside the files is at most twice the one alone and
two batches more, a batch being what the workers have at work at once, at the rate they keep up. Without --url
a fake TorchServe answers, whose batches take --batch-seconds each: that measures the policy, and no model.

    python benchmarks/fairness.py
    python benchmarks/fairness.py --url http://127.0.0.1:8080 --management-url http://127.0.0.1:8081
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from asr.constants import HOP_LENGTH, SAMPLE_RATE, WINDOW_SECONDS  # noqa: E402
from asr.errors import AsrError  # noqa: E402
from asr.schema import DecodingOptions, Window  # noqa: E402
from benchmarks import report  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from gateway.caller import LOCAL  # noqa: E402
from gateway.dispatch.dispatcher import Dispatcher  # noqa: E402
from gateway.settings import UpstreamSettings  # noqa: E402
from tests.gateway.fake_torchserve import FakeTorchServe  # noqa: E402

READY_TIMEOUT_S = 120
MAX_PAUSE_S = 0.2  # between two clips, so that they meet the batches at any point


@dataclass(frozen=True, slots=True)
class Result:
    """Measurements, in seconds."""

    batch: int  # windows that all workers have at work at once
    idle_s: list[float]
    loaded_s: list[float]
    windows_per_s: float  # of files and clips, while both were sent

    @property
    def batch_s(self) -> float:
        return self.batch / self.windows_per_s

    @property
    def allowed_s(self) -> float:
        return 2 * p95(self.idle_s) + 2 * self.batch_s

    @property
    def is_fair(self) -> bool:
        return p95(self.loaded_s) <= self.allowed_s


def p95(seconds: list[float]) -> float:
    return float(np.quantile(seconds, 0.95))


def make_window(seconds: float, seed: int, max_tokens: int) -> Window:
    """Noise of that length, so that no two windows are the same."""
    rng = np.random.default_rng(seed)
    samples = rng.integers(-2_000, 2_000, round(seconds * SAMPLE_RATE), dtype=np.int16)
    options = DecodingOptions(language="en", without_timestamps=True, max_tokens=max_tokens)
    return Window(samples, num_frames=len(samples) // HOP_LENGTH, options=options)


async def decode(dispatcher: Dispatcher, windows: list[Window]) -> float:
    """Seconds for one session that offers all its windows at once; raises a window's error."""
    begun = time.perf_counter()
    seconds = sum(window.num_frames for window in windows) * HOP_LENGTH / SAMPLE_RATE
    with dispatcher.ticket(LOCAL, seconds) as ticket:
        outcomes = await asyncio.gather(*(ticket.decode(window) for window in windows))
    for outcome in outcomes:
        if isinstance(outcome, AsrError):
            raise outcome
    return time.perf_counter() - begun


async def send_clips(dispatcher: Dispatcher, count: int, max_tokens: int) -> list[float]:
    """Seconds of each clip, sent one after the other with a pause of any length between."""
    rng = np.random.default_rng(3)
    seconds = []
    for seed in range(count):
        await asyncio.sleep(rng.uniform(0, MAX_PAUSE_S))
        seconds.append(await decode(dispatcher, [make_window(3.0, seed, max_tokens)]))
    return seconds


async def send_files(dispatcher: Dispatcher, file: list[Window], done: list[int]) -> None:
    """The same file again and again; `done` counts its windows."""
    while True:
        with dispatcher.ticket(LOCAL, len(file) * WINDOW_SECONDS) as ticket:
            for finished in asyncio.as_completed([ticket.decode(window) for window in file]):
                if isinstance(outcome := await finished, AsrError):
                    raise outcome
                done[0] += 1


async def measure(arguments: argparse.Namespace, settings: UpstreamSettings) -> Result:
    dispatcher = Dispatcher(settings)
    await dispatcher.start()
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not dispatcher.ready:
                await asyncio.sleep(0.05)
        tokens, lanes = arguments.max_tokens, dispatcher.lanes
        num_windows = round(arguments.minutes * 60 / WINDOW_SECONDS)
        file = [make_window(WINDOW_SECONDS, 1000 + i, tokens) for i in range(num_windows)]
        batch = sum(lane.batch for lane in lanes)
        await decode(dispatcher, file[:batch])  # warm
        idle_s = await send_clips(dispatcher, arguments.clips, tokens)
        done = [0]
        files = [asyncio.create_task(send_files(dispatcher, file, done)) for _ in range(arguments.files)]
        while done[0] < batch:  # the first batch is back: all lanes are full
            await asyncio.sleep(0.01)
        begun, before = time.perf_counter(), done[0]
        loaded_s = await send_clips(dispatcher, arguments.clips, tokens)
        decoded = done[0] - before + arguments.clips
        windows_per_s = decoded / (time.perf_counter() - begun)
        for task in files:
            task.cancel()
        for outcome in await asyncio.gather(*files, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        return Result(batch, idle_s, loaded_s, windows_per_s)
    finally:
        await dispatcher.close()


def section(result: Result, arguments: argparse.Namespace, found: dict[str, Any]) -> str:
    """The result in Markdown."""
    fake = f"a fake TorchServe, {arguments.batch_seconds:g} s a batch"
    what = "a real TorchServe" if arguments.url else fake
    rows = [
        ["alone", *quantiles(result.idle_s)],
        [f"beside {arguments.files} files of {arguments.minutes:g} minutes", *quantiles(result.loaded_s)],
    ]
    verdict = "fair" if result.is_fair else "NOT fair"
    return (
        f"### A short clip beside long files, {what}\n\n"
        f"{report.table(['3 s clip', 'p50, s', 'p95, s', 'slowest, s'], rows)}\n\n"
        f"{result.windows_per_s:.1f} windows a second, so {result.batch_s:.2f} s for the "
        f"{result.batch} at work at once. Allowed are 2 x {p95(result.idle_s):.2f} s + "
        f"2 x {result.batch_s:.2f} s = {result.allowed_s:.2f} s: **{verdict}**. "
        f"{arguments.clips} clips each.\n\n"
        f"{conditions_text(found)}"
    )


def quantiles(seconds: list[float]) -> list[str]:
    return [f"{value:.2f}" for value in (statistics.median(seconds), p95(seconds), max(seconds))]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a TorchServe that serves Whisper; without it a fake one")
    parser.add_argument("--management-url", help="its management API, to follow the number of workers")
    parser.add_argument("--workers", type=int, default=1, help="where no management address tells")
    parser.add_argument("--clips", type=int, default=40, help="alone, and again beside the files")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=20.0, help="of each file")
    parser.add_argument("--max-tokens", type=int, default=96, help="for each window")
    parser.add_argument("--batch-seconds", type=float, default=0.5, help="of the fake's batches")
    parser.add_argument("--batch-size", type=int, default=16, help="of the fake")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    if arguments.url:
        managements = (arguments.management_url,) if arguments.management_url else ()
        server, urls = nullcontext(), (arguments.url,)
    else:
        fake = FakeTorchServe(
            arguments.batch_seconds,
            arguments.batch_size,
            arguments.workers,
            max_batch_delay_s=0.05,
            keep_windows=False,
        )
        server, urls, managements = fake, (fake.url,), ()
    settings = UpstreamSettings(urls=urls, management_urls=managements, workers=arguments.workers)
    with server:
        result = asyncio.run(measure(arguments, settings))
    found, name = conditions(), "fairness" if arguments.url else "fairness-fake"
    data = {"conditions": found, **asdict(result)}
    text = section(result, arguments, found)
    report.hand_over(name, data, text, keep=not arguments.no_publish)
    return 0 if result.is_fair else 1


if __name__ == "__main__":
    sys.exit(main())
