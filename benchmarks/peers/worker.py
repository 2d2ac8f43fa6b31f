#!/usr/bin/env python3
"""One engine in a process of its own: JSON requests by line on stdin, JSON answers on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from benchmarks.peers.engines import KINDS  # noqa: E402
from benchmarks.seeded import sounds  # noqa: E402


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    name, checkpoint, threads, most = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not come between
    peer = KINDS[name].make(checkpoint, threads)
    windows = sounds(most)
    answers.write(json.dumps({"is_loaded": True}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        cpu = time.process_time()
        run = peer.run(windows[: request["windows"]], request["tokens"])
        spent = time.process_time() - cpu
        extra = {"windows": request["windows"], "cpu": spent, "peak_mib": peak_mib()}
        answers.write(json.dumps(asdict(run) | extra) + "\n")


if __name__ == "__main__":
    main()
