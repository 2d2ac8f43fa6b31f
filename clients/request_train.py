#!/usr/bin/env python3
"""Sends files at a given mean rate whatever the server does (open loop, Poisson arrivals) and reports.

Latency counts from the moment a request was due, so waiting behind slow ones is part of it.
Exit code: 0 when every request succeeded, 1 after any failure, 2 when a file or option is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from whisper_client.command_line import make_parser, positive_count, positive_number, run, whole_number
from whisper_client.errors import BadArgument
from whisper_client.load import Job
from whisper_client.load_command import Plan, add_load_arguments, find_clips, run_plan
from whisper_client.schedule import at_random, poisson_arrivals

EXAMPLES = """\
  python clients/request_train.py --rate 2 --duration 60 samples/
  python clients/request_train.py --rate 0.5 --duration 600 --seed 7 --json result.json talks/
  python clients/request_train.py --rate 20 --duration 30 --format json samples/clip.wav"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser("Send requests at a mean rate, as independent callers would, and report.", EXAMPLES)
    parser.add_argument(
        "--rate", type=positive_number, required=True, metavar="R", help="mean requests a second"
    )
    parser.add_argument(
        "--duration",
        type=positive_number,
        required=True,
        metavar="S",
        help="seconds during which requests start",
    )
    parser.add_argument(
        "--seed",
        type=whole_number,
        default=0,
        metavar="N",
        help="of start times and clips (default: %(default)d)",
    )
    parser.add_argument(
        "--max-in-flight",
        type=positive_count,
        default=256,
        metavar="N",
        help="requests under way at most; more start late, and the report says so (default: %(default)d)",
    )
    add_load_arguments(parser)
    arguments = parser.parse_args(argv)
    clips = find_clips(arguments.paths)
    arrivals = poisson_arrivals(arguments.rate, arguments.duration, arguments.seed)
    if not arrivals:
        raise BadArgument("no request falls into this --duration at this --rate: raise one, or change --seed")
    chosen = at_random(clips, len(arrivals), arguments.seed)
    jobs = [Job(clip, due_s) for clip, due_s in zip(chosen, arrivals, strict=True)]
    settings = {
        "rate": arguments.rate,
        "duration_s": arguments.duration,
        "seed": arguments.seed,
        "max_in_flight": arguments.max_in_flight,
        "count": len(jobs),
        "clips": len(clips),
        "warm_up": arguments.warm_up,
    }
    plan = Plan("open loop", jobs, min(arguments.max_in_flight, len(jobs)), settings)
    return run_plan(plan, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
