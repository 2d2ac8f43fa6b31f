#!/usr/bin/env python3
"""Sends files at a given mean rate whatever the server does (open loop, Poisson arrivals) and reports.

Latency counts from the moment a request was due, so waiting behind slow ones is part of it.
Exit code: 0 when every request succeeded, 1 after any failure, 2 when a file or option is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from load_kit.load import Job
from load_kit.load_arguments import add_load_arguments, parse_load
from load_kit.load_command import Level, Plan, run_program
from load_kit.mix import Mix
from load_kit.schedule import at_random, parse_levels, poisson_arrivals, poisson_count
from whisper_client.command_line import make_parser, positive_count, positive_number, run
from whisper_client.errors import BadArgument

EXAMPLES = """\
  python clients/request_train.py --rate 2 --duration 60 samples/
  python clients/request_train.py --rate 0.5 --duration 600 --seed 7 --json result.json talks/
  python clients/request_train.py --rate-range 1:16:2x --count 200 --json a.json --png a.png samples/
  python clients/request_train.py --rate 4 --duration 60 --mix 3s:0.8,30s:0.2 talks/ --url http://host/v1"""


def main(argv: Sequence[str] | None = None) -> int:
    return run_program(parse(argv), make_plan, argv)


def make_plan(mix: Mix, arguments: argparse.Namespace) -> Plan:
    """One level for each rate; raises BadArgument."""
    if arguments.rate is None and arguments.rate_range is None:
        raise BadArgument("how many requests a second? Give --rate or --rate-range")
    if arguments.duration is None and arguments.count is None:
        raise BadArgument("for how long? Give --duration or --count")
    levels = parse_levels(arguments.rate_range) if arguments.rate_range else (arguments.rate,)
    settings = {
        "rate": list(levels),
        "count": arguments.count,
        "seed": arguments.seed,
        "max_in_flight": arguments.max_in_flight,
    }
    made = [_level(rate, mix, arguments) for rate in levels]
    return Plan("open loop", "rate", made, settings)


def _level(rate: float, mix: Mix, arguments: argparse.Namespace) -> Level:
    if arguments.count:
        arrivals = poisson_count(rate, arguments.count, arguments.seed)
    else:
        arrivals = poisson_arrivals(rate, arguments.duration, arguments.seed)
    if not arrivals:
        raise BadArgument("no request falls into this --duration at this --rate: raise one, or change --seed")
    clips = at_random(mix.clips, arguments.seed, mix.weights)
    jobs = [Job(clip, due_s) for due_s, clip in zip(arrivals, clips, strict=False)]
    return Level(rate, min(arguments.max_in_flight, len(jobs)), jobs, len(jobs))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("Send requests at a mean rate, as independent callers would, and report.", EXAMPLES)
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument("--rate", type=positive_number, metavar="R", help="mean requests a second")
    rates.add_argument(
        "--rate-range",
        metavar="RANGE",
        help="one level after the other: 1:16:2x doubles, 2:10:4 adds, 0.5,1,4 lists",
    )
    parser.add_argument(
        "--max-in-flight",
        type=positive_count,
        default=256,
        metavar="N",
        help="requests under way at most; more start late, and the report says so (default: %(default)d)",
    )
    add_load_arguments(parser)
    return parse_load(parser, argv)


if __name__ == "__main__":
    sys.exit(run(main))
