#!/usr/bin/env python3
"""Processor time that the gateway and its media processes take for a second of audio, by container.

Starts TorchServe and a gateway as serve.sh does and sends each clip again and again, one at a time. Processor
time is the kernel's count for those processes: other work on the machine changes it little.

    python benchmarks/front_cost.py
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import report, scaling  # noqa: E402
from benchmarks.closed_loop import wav  # noqa: E402
from benchmarks.machine import conditions  # noqa: E402
from benchmarks.memory import pids  # noqa: E402
from benchmarks.seeded import speech  # noqa: E402
from tests.live.faults.stack import DEMO, Gateway  # noqa: E402
from tests.servers import Server, start_server  # noqa: E402

CLIPS = ("harvard.wav", "emma.mp3", "hindi.opus", "garden.m4a", "digits.flac", "long.mp3")
WINDOW_S = 28.0


def seconds_of_processor(found: Sequence[int]) -> float:
    """User and system time of the processes, children that ended included."""
    ticks = 0
    for pid in found:
        ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def send(gateway: Gateway, name: str, body: bytes) -> float:
    """Seconds of audio that were answered; raises where none were."""
    form = {"model": "whisper-1", "response_format": "verbose_json"}
    files = {"file": (name, body)}
    answer = requests.post(f"{gateway.url}/v1/audio/transcriptions", data=form, files=files, timeout=600)
    answer.raise_for_status()
    return float(answer.json()["duration"])


def measure(server: Server, gateway: Gateway, least_s: float) -> list[dict[str, Any]]:
    """A row for each clip: audio answered, processor seconds of the gateway and of its media processes."""
    found = pids(server, gateway)
    clips = {name: (ROOT / "samples" / name).read_bytes() for name in CLIPS}
    clips = {f"WAV, 16 kHz mono, {WINDOW_S:g} s": wav(speech(WINDOW_S))} | clips
    rows = []
    for name, body in clips.items():
        send(gateway, name, body)  # what the first of a kind loads is not counted
        roles = {role: found[role] for role in ("gateway", "media process")}
        before = {role: seconds_of_processor(each) for role, each in roles.items()}
        audio_s = 0.0
        while audio_s < least_s:
            audio_s += send(gateway, name, body)
        spent = {role: seconds_of_processor(each) - before[role] for role, each in roles.items()}
        rows.append({"clip": name, "audio_s": audio_s, "cpu_s": spent})
        print(name, {role: f"{1000 * value / audio_s:.2f} ms/s" for role, value in spent.items()}, flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--audio", type=float, default=1500.0, metavar="S", help="seconds of audio per clip")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    data: dict[str, Any] = {"conditions": conditions()}
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(DEMO, Path(folder) / "server")
        gateway = Gateway(Path(folder), [server])
        try:
            gateway.wait_until(gateway.is_ready, "ready")
            data["rows"] = measure(server, gateway, given.audio)
        finally:
            gateway.stop()
            server.stop()
    if not given.no_publish:
        report.save("front-cost", data)
        scaling.publish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
