#!/usr/bin/env python3
"""What streams of silence cost the gateway: processor time of one core, and how late it answers a ping.

A fake TorchServe stands behind the gateway, for no window is sent. The gateway is held on one core, the
client on another where there is one.

    python benchmarks/live/idle.py --streams 50 200
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

from benchmarks import report  # noqa: E402
from benchmarks.live.serving import cpu_s, rss_mib  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from tests.gateway.fake_torchserve import FakeTorchServe  # noqa: E402
from tests.live.faults.stack import Gateway  # noqa: E402
from whisper_client.command_line import positive_count, positive_number, run  # noqa: E402
from whisper_client.realtime import realtime_url  # noqa: E402
from whisper_client.tape import CHUNK_BYTES, CHUNK_MS  # noqa: E402

SETTLE_S = 2.0  # before the clock runs: handshakes are over
CHUNK = json.dumps(
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(CHUNK_BYTES)).decode()}
)


async def speak_silence(socket: ClientConnection, begin_at: float, until: float) -> None:
    """Sends silence at the speed of speech."""
    loop = asyncio.get_running_loop()
    due = begin_at
    while due < until:
        await asyncio.sleep(max(0.0, due - loop.time()))
        await socket.send(CHUNK)
        due += CHUNK_MS / 1000


async def measured(gateway: Gateway, count: int, seconds: float) -> list[object]:
    """One row: streams, milliseconds of processor per second of stream, share of a core, pings, memory."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        url = realtime_url(gateway.url)
        sockets = [await stack.enter_async_context(connect(url, compression=None)) for _ in range(count)]
        first = loop.time() + 0.1
        end = first + SETTLE_S + seconds
        offsets = [CHUNK_MS / 1000 * number / count for number in range(count)]
        tasks = [
            asyncio.create_task(speak_silence(*pair, end))
            for pair in zip(sockets, (first + o for o in offsets), strict=True)
        ]
        await asyncio.sleep(first + SETTLE_S - loop.time())
        begun, before, waits_ms = loop.time(), cpu_s([gateway.process.pid]), []
        while loop.time() < end - 0.2:
            asked_at = loop.time()
            await (await sockets[len(waits_ms) % count].ping())
            waits_ms.append(1000 * (loop.time() - asked_at))
            await asyncio.sleep(0.05)
        spent, lasted = cpu_s([gateway.process.pid]) - before, loop.time() - begun
        await asyncio.gather(*tasks)
        p50, p95 = np.quantile(waits_ms, (0.5, 0.95))
        return [
            count,
            f"{1000 * spent / lasted / count:.1f}",
            f"{100 * spent / lasted:.0f} %",
            f"{p50:.1f}",
            f"{p95:.1f}",
            f"{rss_mib(gateway.process.pid):.0f}",
        ]


def main(argv: Sequence[str] | None = None) -> int:
    given = parser().parse_args(argv)
    found = conditions()
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    with tempfile.TemporaryDirectory() as folder, FakeTorchServe(keep_windows=False) as fake:
        settings = {
            "GATEWAY_UPSTREAM__MANAGEMENT_URLS": "[]",
            "GATEWAY_REALTIME__MAX_STREAMS": "1100",
            "GATEWAY_REALTIME__MAX_STREAMS_PER_KEY": "1100",
        }
        gateway = Gateway(Path(folder), [_Upstream(fake.url)], **settings)  # type: ignore[list-item]
        try:
            gateway.wait_until(gateway.is_ready, "ready")
            os.sched_setaffinity(gateway.process.pid, {cores[0]})
            os.sched_setaffinity(0, {cores[-1]})
            for count in given.streams:
                rows.append(asyncio.run(measured(gateway, count, given.seconds)))
                time.sleep(1.0)
        finally:
            gateway.stop()
    headers = [
        "streams of silence",
        "ms per s of stream",
        "of one core",
        "ping p50 ms",
        "ping p95 ms",
        "gateway MiB",
    ]
    text = f"{report.table(headers, rows)}\n\n{conditions_text(found)}"
    report.hand_over("live-idle", {"conditions": found, "rows": rows}, text, keep=given.publish)
    return 0


class _Upstream:
    """What `Gateway` needs of a server."""

    def __init__(self, url: str) -> None:
        self.url = self.management = url
        self.key_file = None


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--streams", type=positive_count, nargs="+", default=[50, 200])
    made.add_argument("--seconds", type=positive_number, default=15.0, help="of each level")
    made.add_argument("--publish", action="store_true", help="write benchmarks/results/live-idle.json")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
