#!/usr/bin/env python3
"""Sends files with a fixed number of requests under way (closed loop) and reports latency and throughput.

Exit code: 0 when every request succeeded, 1 after any failure, 2 when a file or option is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from whisper_client.command_line import make_parser, positive_count, run
from whisper_client.load import Job
from whisper_client.load_command import Plan, add_load_arguments, find_clips, run_plan
from whisper_client.schedule import in_turn

EXAMPLES = """\
  python clients/bulk_request.py samples/ --concurrency 8
  python clients/bulk_request.py a.wav b.mp3 --concurrency 16 --count 200 --json result.json
  python clients/bulk_request.py talks/ --language en --option long_form=sequential
  python clients/bulk_request.py samples/ --openai http://127.0.0.1:8000/v1 --concurrency 4"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser("Transcribe many files, N requests at a time, and report the figures.", EXAMPLES)
    parser.add_argument(
        "--concurrency",
        type=positive_count,
        default=4,
        metavar="N",
        help="requests under way (default: %(default)d)",
    )
    parser.add_argument(
        "--count",
        type=positive_count,
        metavar="M",
        help="requests in all, files in turn (default: each file once)",
    )
    add_load_arguments(parser)
    arguments = parser.parse_args(argv)
    clips = find_clips(arguments.paths)
    count = arguments.count or len(clips)
    threads = min(arguments.concurrency, count)
    settings = {"concurrency": threads, "count": count, "clips": len(clips), "warm_up": arguments.warm_up}
    jobs = [Job(clip) for clip in in_turn(clips, count)]
    return run_plan(Plan("closed loop", jobs, threads, settings), arguments)


if __name__ == "__main__":
    sys.exit(run(main))
