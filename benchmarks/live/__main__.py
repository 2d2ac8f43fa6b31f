"""Measures live streams: words, waits, and what they cost, before a real gateway and TorchServe.

MANIFEST as for accuracy.py. Recordings of people are played at the speed of speech over `GET /v1/realtime`,
as many streams side by side as --streams says, alone or beside uploads of long files; then each turn is
uploaded, and its text must be the same. A run stays below three minutes if --seconds is 100.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

from benchmarks import report  # noqa: E402
from benchmarks.closed_loop import wav  # noqa: E402
from benchmarks.live.beside import files_beside  # noqa: E402
from benchmarks.live.live_tables import DOCUMENT, section  # noqa: E402
from benchmarks.live.playing import played  # noqa: E402
from benchmarks.live.programmes import Programme, programmes  # noqa: E402
from benchmarks.live.serving import cpu_s, serving  # noqa: E402
from benchmarks.live.uploaded import uploaded  # noqa: E402
from benchmarks.live.verdicts import as_json, verdict  # noqa: E402
from benchmarks.machine import conditions  # noqa: E402
from tests.live.faults.stack import Gateway  # noqa: E402
from tests.servers import Server  # noqa: E402
from whisper_client.command_line import make_parser, positive_count, positive_number, run  # noqa: E402
from whisper_client.references import read_references  # noqa: E402

FILE_S = 600.0  # of each file beside the streams: it does not end while they last
EXAMPLES = """\
  python benchmarks/live clips/manifest.jsonl --model whisper-models/tiny.en
  python benchmarks/live clips/manifest.jsonl --model whisper-models/base --streams 4 --beside-files 4"""


def measured(
    server: Server, gateway: Gateway, spoken: Sequence[Programme], given: argparse.Namespace
) -> dict[str, Any]:
    """One run as JSON values."""
    body = wav(programmes(given.references, 1, FILE_S)[0].samples()) if given.beside_files else b""
    pids = [gateway.process.pid], server.worker_pids()
    with files_beside(gateway.url, body, given.beside_files):
        before = [cpu_s(each) for each in pids]
        turns = played(gateway.url, spoken, given.delay)
        spent = [cpu_s(each) - was for each, was in zip(pids, before, strict=True)]
    if given.turns:
        listed = [[asdict(turn) for turn in one] for one in turns]
        given.turns.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", "utf-8")
    uploads = [uploaded(gateway.url, one.samples(), each) for one, each in zip(spoken, turns, strict=True)]
    audio_s = sum(one.seconds for one in spoken)
    return {
        "model": given.model.name.removesuffix(".pt"),
        "streams": len(spoken),
        "files": given.beside_files,
        "delay": given.delay or "low",
        "batch_size": given.batch_size,
        "audio_s": round(audio_s),
        **as_json(verdict([one.text for one in spoken], turns, uploads)),
        "gateway_ms_per_s": round(1000 * spent[0] / audio_s, 1),
        "workers_s_per_s": round(spent[1] / audio_s, 3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    given = parser().parse_args(argv)
    given.references = read_references(given.manifest)
    spoken = programmes(given.references, given.streams, given.seconds)
    found = conditions()
    engine: dict[str, Any] = {"handler": {"engine": {"threads": given.threads}}}
    config = engine | ({"batchSize": given.batch_size} if given.batch_size else {})
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(given.model, Path(folder), config) as (server, gateway),
    ):
        row = measured(server, gateway, spoken, given)
    for name, value in row.items():
        print(f"{name:<20}{value}")
    if given.publish:
        runs = report.load("live").get("runs", [])
        same = ("model", "batch_size", "streams", "files", "delay")
        runs = [one for one in runs if any(one.get(name, 0) != row[name] for name in same)]
        runs = sorted(
            [*runs, row | {"conditions": found}], key=lambda one: [one.get(name, 0) for name in same]
        )
        report.save("live", {"runs": runs})
        report.publish("live", section(runs), DOCUMENT)
    return 0


def parser() -> argparse.ArgumentParser:
    made = make_parser(__doc__ or "", EXAMPLES)
    made.add_argument("manifest", type=Path)
    made.add_argument("--model", type=Path, required=True, help="checkpoint, a file or a folder")
    made.add_argument("--streams", type=positive_count, default=1, help="side by side (default: %(default)d)")
    made.add_argument(
        "--beside-files", type=int, default=0, metavar="N", help="uploads of long files meanwhile"
    )
    made.add_argument("--seconds", type=positive_number, default=100.0, help="of each stream (%(default)g)")
    made.add_argument("--delay", help="as in the session: minimal, low, medium, high, xhigh")
    made.add_argument(
        "--batch-size", type=int, default=0, help="1: a model call for each window (default: as shipped)"
    )
    made.add_argument("--threads", type=positive_count, default=2)
    made.add_argument("--turns", type=Path, metavar="FILE", help="write every turn and its deltas there")
    made.add_argument("--publish", action="store_true", help="write the run into benchmarks/results and docs")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
