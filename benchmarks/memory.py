#!/usr/bin/env python3
"""How much memory each process of a server holds: idle, and at most under N streams.

Starts TorchServe and a gateway as serve.sh does, sends the samples as streams, a closed loop per number of
streams, and reads resident memory from /proc. The peak is the kernel's own (VmHWM, reset before each level):
nothing between two looks is missed. A busy machine makes the run longer and changes no figure.

    python benchmarks/memory.py --streams 1 16
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import report  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from tests.live.faults.stack import DEMO, Gateway  # noqa: E402
from tests.servers import Server, start_server  # noqa: E402

DOCUMENT = ROOT / "docs" / "scaling.md"
CLIPS = ("harvard.wav", "emma.mp3", "digits.flac", "hindi.opus", "garden.m4a", "long.mp3")
ROLES = ("worker", "Java", "gateway", "media process")  # of the last the largest is shown
MEDIA_COMMAND = b"gateway.media.child"
PAUSE_S = 10.0  # before an idle look: time to free what the last requests used
Memory = dict[str, list[float]]  # role → MiB of each of its processes


def pids(server: Server, gateway: Gateway) -> dict[str, list[int]]:
    """Process ids by role."""
    parent = gateway.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    media = [int(pid) for pid in children if MEDIA_COMMAND in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return dict(zip(ROLES, (server.worker_pids(), [server.pid], [parent], media), strict=True))


def look(found: Mapping[str, Sequence[int]], line: str) -> Memory:
    """MiB by a line of /proc/PID/status: VmRSS now, VmHWM the most since `forget_peaks`."""
    return {role: [_mib(pid, line) for pid in each] for role, each in found.items()}


def forget_peaks(found: Mapping[str, Sequence[int]]) -> None:
    for each in found.values():
        for pid in each:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): sets VmHWM to VmRSS


def _mib(pid: int, line: str) -> float:
    match = re.search(rf"^{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"process {pid} ended while it was measured")
    return int(match[1]) / 1024


def stream_for(gateway: Gateway, clients: int, seconds: float) -> int:
    """`clients` streams at a time, none started after `seconds`; returns the count, raises on a failure."""
    clips = [(ROOT / "samples" / name).read_bytes() for name in CLIPS]
    end = time.monotonic() + seconds

    def ask(first: int) -> int:
        """The number of streams of one client, which begins with clip `first`."""
        for count in itertools.count():
            if time.monotonic() >= end:
                break
            answer = requests.post(
                f"{gateway.url}/v1/audio/transcriptions",
                data={"model": "whisper-1", "stream": "true"},
                files={"file": clips[(first + count) % len(clips)]},
                timeout=600,
            )
            if not answer.ok or "transcript.text.done" not in answer.text:
                raise RuntimeError(f"a stream failed with status {answer.status_code}: {answer.text[:200]}")
        return count

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(ask, range(clients)))


def measure(server: Server, gateway: Gateway, levels: Sequence[int], seconds: float) -> dict[str, Any]:
    """{"looks": [[name, memory], …], "requests": [of each level]}"""
    time.sleep(PAUSE_S)
    looks: list[tuple[str, Memory]] = [("idle, just started", look(pids(server, gateway), "VmRSS"))]
    counts = []
    for level in levels:
        found = pids(server, gateway)
        forget_peaks(found)
        counts.append(stream_for(gateway, level, seconds))
        looks.append((f"most under {level} stream{'s' if level > 1 else ''}", look(found, "VmHWM")))
    time.sleep(PAUSE_S)
    looks.append(("idle afterwards", look(pids(server, gateway), "VmRSS")))
    return {"looks": looks, "requests": counts}


def section(data: dict[str, Any]) -> str:
    """The Markdown: a table by role, where and when it was measured."""
    looks = data["looks"]
    rows = []
    for role in ROLES:
        count = len(looks[0][1][role])
        name = role if count == 1 else f"{role}, the larger of {count}"
        rows.append([name, *(f"{max(memory[role]):.0f}" for _, memory in looks)])
    rows.append(["all of them", *(f"{sum(map(sum, memory.values())):.0f}" for _, memory in looks)])
    requests_each = " and ".join(map(str, data["requests"]))
    return "\n\n".join(
        [
            report.table(["MiB resident", *(name for name, _ in looks)], rows),
            f"Checkpoint `{data['model']}` ({data['runs_on']}); {requests_each} streams were answered, of "
            f"{len(CLIPS)} files from samples/. {conditions_text(data['conditions'])}",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, default=DEMO, help="a checkpoint's path (default: the demo's)")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16], metavar="N")
    parser.add_argument("--seconds", type=float, default=60.0, help="during which streams start, per level")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    data: dict[str, Any] = {"conditions": conditions(), "model": given.model.stem}
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(given.model, Path(folder) / "server")
        gateway = Gateway(Path(folder), [server])
        try:
            gateway.wait_until(gateway.is_ready, "ready")
            about = requests.get(f"{server.predictions}/1.0/model", timeout=60).json()
            data["runs_on"] = about["runs_on"]  # such as "cpu float32"
            data |= measure(server, gateway, given.streams, given.seconds)
        finally:
            gateway.stop()
            server.stop()
    name, text = f"memory-{given.model.stem}", section(data)
    report.hand_over(name, data, text, keep=not given.no_publish, document=DOCUMENT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
