#!/usr/bin/env python3
"""Sends files with a fixed number of requests under way (closed loop) and reports latency and throughput.

With --to it keeps the transcripts instead: a row for each file of a manifest or folder, resumed after a kill.

Exit code: 0 when every request succeeded, 1 after any failure, 2 when a file or option is wrong.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from itertools import islice

from bulk_rows.folder_run import add_folder_arguments, run_into_folder
from load_kit.load import Job
from load_kit.load_arguments import add_load_arguments, parse_load
from load_kit.load_command import Level, Plan, run_program
from load_kit.mix import Mix
from load_kit.schedule import at_random, in_turn, parse_levels
from whisper_client.command_line import address_of, make_parser, positive_count, run
from whisper_client.errors import BadArgument

EXAMPLES = """\
  python clients/bulk_request.py samples/ --concurrency 8
  python clients/bulk_request.py a.wav b.mp3 --concurrency 16 --count 200 --json result.json
  python clients/bulk_request.py samples/ --concurrency-range 1:64:2x --duration 60 --json a.json --png a.png
  python clients/bulk_request.py talks/ --mix 3s:0.7,30s:0.2,300s:0.1 --concurrency 16 --duration 120
  python clients/bulk_request.py samples/ --url http://127.0.0.1:8000/v1 --model whisper-1 --concurrency 4
  python clients/bulk_request.py list.jsonl --to out/ --resume --url http://127.0.0.1:8000/v1
  python clients/bulk_request.py --compare a.json b.json --png both.png"""

LOAD_ONLY = ("concurrency_range", "count", "duration", "mix", "json", "png", "config", "compare")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    if arguments.to is not None:
        return run_into_folder(arguments, address_of(arguments))
    return run_program(arguments, make_plan, argv)


def make_plan(mix: Mix, arguments: argparse.Namespace) -> Plan:
    """One level for each concurrency; raises BadArgument."""
    given = arguments.concurrency_range
    levels = parse_levels(given) if given else (float(arguments.concurrency),)
    if any(not level.is_integer() for level in levels):
        raise BadArgument(f"{given!r} holds a part of a request: concurrencies are whole")
    count = arguments.count
    if count is None and arguments.duration is None:
        if arguments.mix or len(levels) > 1:
            raise BadArgument("a mix or a range needs --duration or --count: each level runs that long")
        count = len(mix.clips)
    settings = {
        "concurrency": [int(level) for level in levels],
        "count": count,
        "seed": arguments.seed if arguments.mix else None,
    }
    made = [_level(int(level), mix, count, arguments) for level in levels]
    return Plan("closed loop", "concurrency", made, settings)


def _level(concurrency: int, mix: Mix, count: int | None, arguments: argparse.Namespace) -> Level:
    clips = at_random(mix.clips, arguments.seed, mix.weights) if arguments.mix else in_turn(mix.clips)
    jobs = (Job(clip) for clip in islice(clips, count))
    threads = concurrency if count is None else min(concurrency, count)
    return Level(concurrency, threads, jobs, count, arguments.duration or math.inf)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("Transcribe many files, N requests at a time, and report the figures.", EXAMPLES)
    levels = parser.add_mutually_exclusive_group()
    levels.add_argument(
        "--concurrency",
        type=positive_count,
        default=4,
        metavar="N",
        help="requests under way (default: %(default)d)",
    )
    levels.add_argument(
        "--concurrency-range",
        metavar="RANGE",
        help="one level after the other: 1:64:2x doubles, 2:10:4 adds, 1,4,16 lists",
    )
    add_load_arguments(parser, otherwise="; without --duration, each file once")
    add_folder_arguments(parser)
    arguments = parse_load(parser, argv)
    for name in LOAD_ONLY if arguments.to is not None else ():
        if getattr(arguments, name) is not None:
            parser.error(f"--{name.replace('_', '-')} is for a load, not for --to")
    for name in ("resume", "retry_errors", "subtitles", "parquet"):
        if getattr(arguments, name) and arguments.to is None:
            parser.error(f"--{name.replace('_', '-')} goes with --to")
    return arguments


if __name__ == "__main__":
    sys.exit(run(main))
