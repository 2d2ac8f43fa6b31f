"""Compares servers on recordings of people: seconds and words of each, on the same weights, in one run.

MANIFEST as for accuracy.py. Every system is a server with the same route: ours as it is shipped or with one
setting changed, the others behind the simplest FastAPI server. All are loaded at once and take turns,
workload by workload, --rounds times. --avx2 hides AVX-512 and AMX, where the processor allows that.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

from tqdm import tqdm  # noqa: E402

from benchmarks import report  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.peers.servers import OTHERS, OURS, Running, Setup, running  # noqa: E402
from benchmarks.peers.workloads import Round, Workload, asked, workloads  # noqa: E402
from benchmarks.wer.normalisers import normaliser_for  # noqa: E402
from whisper_client.command_line import make_parser, positive_count, run  # noqa: E402
from whisper_client.references import read_references  # noqa: E402
from whisper_client.scoring import score  # noqa: E402

DEFAULT = ("ours", "ours-30s", "faster-whisper-int8", "faster-whisper-batched-int8", "openai-whisper")
SLOW = ("openai-whisper", "whisper.cpp")  # asked once for what takes them minutes
EXAMPLES = """\
  python -m benchmarks.peers speech/manifest.jsonl --model base.pt --ct2 ct2-base
  python -m benchmarks.peers speech/manifest.jsonl --model base.pt --ct2 ct2-base --avx2
  python -m benchmarks.peers speech/manifest.jsonl --model base.pt --ct2 ct2-base --systems ours --rounds 1"""
Found = dict[str, dict[str, list[Round]]]  # by workload and system


def measured(systems: Sequence[Running], loads: Sequence[Workload], rounds: int) -> Found:
    """The rounds of every workload and system, after one clip that is not counted."""
    found: Found = {load.name: {system.name: [] for system in systems} for load in loads}
    for system in systems:
        asked(system, Workload("warm-up", loads[0].recordings[:1]))
    with tqdm(total=rounds * len(loads) * len(systems), unit="round") as bar:
        for number in range(rounds):
            for load in loads:
                for system in systems:
                    bar.set_description(f"{load.name}: {system.name}")
                    if number == 0 or system.name not in SLOW:
                        found[load.name][system.name].append(asked(system, load))
                    bar.update()
    return found


def rows(found: Found, loads: Sequence[Workload], systems: Sequence[Running]) -> list[list[str]]:
    """One line for each system: times real time, seconds of a clip, word error rates, memory."""
    lines = []
    for system in systems:
        cells = [system.name]
        for load in loads:
            cells += _cells(load, found[load.name][system.name])
        lines.append([*cells, f"{system.peak_mb():.0f}"])
    return lines


def _cells(load: Workload, rounds: Sequence[Round]) -> list[str]:
    seconds = statistics.median(one.seconds for one in rounds)
    each = [seconds for one in rounds for seconds in one.each_s]
    if not any(one.text for one in load.recordings):
        words = sum(len(text.split()) for text in rounds[0].texts)
        return [f"{seconds:.2f}", str(words)]
    speed = f"{load.audio_s / seconds:.1f}"
    waits = f"{statistics.median(each):.2f}"
    return [speed, waits, f"{_word_error(load, rounds[0]):.2f}"]


def _word_error(load: Workload, answers: Round) -> float:
    scores = [
        score(one.text, text, normaliser_for("en")).words
        for one, text in zip(load.recordings, answers.texts, strict=True)
    ]
    return 100 * sum(one.wrong for one in scores) / sum(one.reference for one in scores)


def headers(loads: Sequence[Workload]) -> list[str]:
    made = ["system"]
    for load in loads:
        has_speech = any(one.text for one in load.recordings)
        made += (
            [f"{load.name}: × real time", "s each", "WER %"] if has_speech else [f"{load.name}: s", "words"]
        )
    return [*made, "peak MB"]


def main(argv: Sequence[str] | None = None) -> int:
    given = parser().parse_args(argv)
    loads = workloads(read_references(given.manifest))
    found_conditions: dict[str, Any] = conditions() | {"avx2_only": given.avx2}
    given.work.mkdir(parents=True, exist_ok=True)
    setup = Setup(given.model, given.ct2, given.threads, given.work.absolute(), given.avx2)
    with ExitStack() as stack:
        systems = [stack.enter_context(running(name, setup)) for name in given.systems]
        found = measured(systems, loads, given.rounds)
        lines = rows(found, loads, systems)
    name = "peers-avx2" if given.avx2 else "peers"
    kept = {
        load.name: {system: [asdict(one) for one in rounds] for system, rounds in found[load.name].items()}
        for load in loads
    }
    report.save(name, {"conditions": found_conditions, "rounds": kept})
    print(report.table(headers(loads), lines))
    print(conditions_text(found_conditions) + (" AVX-512 and AMX hidden." if given.avx2 else ""))
    return 0


def parser() -> argparse.ArgumentParser:
    made = make_parser(__doc__ or "", EXAMPLES)
    made.add_argument("manifest", type=Path)
    made.add_argument("--model", type=Path, required=True, help="checkpoint, OpenAI's .pt")
    made.add_argument("--ct2", type=Path, required=True, help="the same weights for faster-whisper")
    made.add_argument("--systems", nargs="+", default=DEFAULT, choices=[*OURS, *OTHERS], metavar="SYSTEM",
                      help=f"of {', '.join([*OURS, *OTHERS])}")  # fmt: skip
    made.add_argument("--rounds", type=positive_count, default=3)
    made.add_argument("--threads", type=positive_count, default=2)
    made.add_argument("--avx2", action="store_true", help="hide AVX-512 and AMX (Linux, Intel, needs cc)")
    made.add_argument("--work", type=Path, default=ROOT / "tmp" / "peers")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
