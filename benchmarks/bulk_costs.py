#!/usr/bin/env python3
"""What a bulk run costs by itself: rows per second and memory against a stand-in that answers at once.

One small file stands in the manifest again and again, with another prompt each time, which makes it another
entry. Exit code: 1 when a row is lost, doubled or an error.

    python benchmarks/bulk_costs.py --rows 100000 -- --actors 2 --in-flight 100 --block 100
    python benchmarks/bulk_costs.py --rows 100000 --program bulk_request -- --concurrency 16
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import report  # noqa: E402
from benchmarks.closed_loop import wav  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from tests.processes import started  # noqa: E402
from tests.servers import free_ports  # noqa: E402

PROGRAMS = {"bulk": ["-m", "bulk"], "bulk_request": [str(ROOT / "clients" / "bulk_request.py"), "--resume"]}
START_S = 60
LOOK_S = 0.5  # between two looks at the driver's memory
SEGMENT = {"start": 0.0, "end": 1.5, "text": "a few words", "temperature": 0.0, "avg_logprob": -0.1} | {
    "compression_ratio": 1.0, "no_speech_prob": 0.0,
}  # fmt: skip
TRANSCRIPT = {"text": "a few words", "duration": 1.5, "language": "english", "segments": [SEGMENT]}

heard: dict[str, int] = {}  # by the stand-in: Idempotency-Key → requests


async def stand_in(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """A gateway as an ASGI application. GET /heard: how many entries were sent, and how often in all."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    document: dict[str, Any] = {"data": [{"id": "whisper-1"}], "id": "whisper-1"}
    if scope["method"] == "POST":
        key = dict(scope["headers"])[b"idempotency-key"].decode()
        heard[key] = heard.get(key, 0) + 1
        document = TRANSCRIPT
    elif scope["path"] == "/heard":
        document = {"entries": len(heard), "requests": sum(heard.values())}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", choices=PROGRAMS, default="bulk")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--to", type=Path, help="a folder that stays; a second run goes on there")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    parser.add_argument("arguments", nargs="*", help="the program's own, after --")
    given = parser.parse_args()
    found = conditions()
    with contextlib.ExitStack() as stack:
        folder = given.to or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        url = stack.enter_context(serving())
        data = run(given, folder, url)
    columns = ("rows", "good", "doubled", "requests", "seconds", "rows_per_s", "driver_mib", "all_mib")
    table = report.table([one.replace("_", " ") for one in columns], [[data[one] for one in columns]])
    text = f"{table}\n\n{conditions_text(found)}"
    report.hand_over("bulk-costs", {"conditions": found, **data}, text, keep=not given.no_publish)
    return 0 if data["good"] == given.rows and not data["doubled"] else 1


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The stand-in's address, while it runs."""
    (port,) = free_ports(1)
    options = ["--port", str(port), "--log-level", "warning", "--no-access-log"]
    with started([sys.executable, "-m", "uvicorn", "benchmarks.bulk_costs:stand_in", *options], cwd=ROOT):
        give_up = time.monotonic() + START_S
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/heard", timeout=10)
                break
            except requests.ConnectionError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


def run(given: argparse.Namespace, folder: Path, url: str) -> dict[str, Any]:
    """One run of the program, and what is in its folder afterwards."""
    clip, manifest, out = folder / "clip.wav", folder / "list.jsonl", folder / "out"
    clip.write_bytes(wav(np.zeros(8_000, np.int16)))
    with manifest.open("w") as file:
        for number in range(given.rows):
            file.write(json.dumps({"path": clip.name, "prompt": str(number)}) + "\n")
    arguments = [str(manifest), "--to", str(out), "--url", f"{url}/v1", *given.arguments]
    command = [sys.executable, *PROGRAMS[given.program], *arguments]
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT) as process:
        memory = Memory(process.pid)
        process.wait()
    seconds = time.perf_counter() - begun
    ids = list(ids_of_good_rows(out))
    return {
        "rows": given.rows,
        "good": len(set(ids)),
        "doubled": len(ids) - len(set(ids)),
        "requests": requests.get(f"{url}/heard", timeout=30).json()["requests"],
        "seconds": round(seconds, 1),
        "rows_per_s": round(given.rows / seconds),
        "driver_mib": round(memory.driver_mib),
        "all_mib": round(memory.all_mib),
    }


class Memory:
    """The most that a process held, and that it held together with its descendants."""

    def __init__(self, pid: int) -> None:
        self.driver_mib = self.all_mib = 0.0
        self._pid = pid
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            driver = psutil.Process(self._pid)
            while driver.status() != psutil.STATUS_ZOMBIE:
                held = [proportional_mib(self._pid)]
                held += [proportional_mib(child.pid) for child in driver.children(recursive=True)]
                self.driver_mib = max(self.driver_mib, held[0])
                self.all_mib = max(self.all_mib, sum(held))
                time.sleep(LOOK_S)


def proportional_mib(pid: int) -> float:
    """A process's memory, a page that n processes share counted as 1/n of it; 0 after its end."""
    with contextlib.suppress(OSError):
        if found := re.search(
            r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
        ):
            return int(found[1]) / 1024
    return 0.0


def ids_of_good_rows(out: Path) -> Iterator[str]:
    """The id of each row without an error, as the program has written them."""
    for path in sorted(out.glob("rows*")):
        if path.suffix == ".jsonl":
            with path.open() as file:
                yield from (row["id"] for row in map(json.loads, file) if row["error_code"] is None)
        elif path.is_dir():
            from pyarrow import parquet

            for part in sorted(path.glob("*.parquet")):
                table = parquet.read_table(part, columns=["id", "error_code"]).to_pylist()
                yield from (row["id"] for row in table if row["error_code"] is None)


if __name__ == "__main__":
    os.environ.setdefault("TQDM_MININTERVAL", "10")
    sys.exit(main())
