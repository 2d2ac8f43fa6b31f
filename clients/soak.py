#!/usr/bin/env python3
"""Sends mixed traffic for minutes while things go wrong, and judges: every answer right, memory flat.

Every 30 s one act of chaos: a malformed upload, a caller that leaves in mid-upload or mid-answer, a killed
worker (with --kill-worker-of), a huge file. Each well-formed request's text is compared with its reference,
or with the clip's own answer from before the chaos. Workers are killed in the first half only: a worker that
dies every two minutes cannot show a leak.

Exit code: 0 when the bar was met, 1 when not, 2 when a file or option is wrong, 130 after Ctrl-C; the report
is written in any case.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from load_kit.load import Job, LoadRun, LoadRunner
from load_kit.load_progress import LoadProgress
from load_kit.mix import Mix, find_clips
from load_kit.schedule import at_random
from load_kit.soak.chaos import Chaos, Event
from load_kit.soak.growth import Checkpoints
from load_kit.soak.processes import processes
from load_kit.soak.soak_report import SoakResult, bars, write_report
from load_kit.soak.traffic import Traffic
from load_kit.surroundings import shown_command, surroundings
from whisper_client import WhisperClient
from whisper_client.command_line import (
    INTERRUPTED,
    add_server_arguments,
    make_client,
    make_parser,
    positive_count,
    positive_number,
    run,
    token_of,
    whole_number,
)
from whisper_client.errors import BadArgument
from whisper_client.transport import is_loopback

EXAMPLES = """\
  python clients/soak.py samples/*.wav --minutes 30 --kill-worker-of 8080
  python clients/soak.py samples/digits.flac samples/harvard.wav --expect samples/*.txt --max-wer 0.1
  python clients/soak.py talks/ --mix 3s:0.7,30s:0.3 --url http://127.0.0.1:8000/v1 --kill-worker-of 8080"""
RETRIES = 12  # outlasts a worker's restart on a slow machine


class Ticker:
    """Calls `act` with the seconds since the start, every `every_s`, on a thread of its own."""

    def __init__(self, every_s: float, act: Callable[[float], None], *, at_once: bool) -> None:
        self._every_s, self._act, self._at_once = every_s, act, at_once
        self._stop = threading.Event()
        self._started = time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        if self._at_once:
            self._act(0.0)
        while not self._stop.wait(self._every_s):
            self._act(time.perf_counter() - self._started)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    expected = read_expected(arguments.expect)
    with find_clips(arguments.paths, arguments.mix) as mix, make_client(arguments) as client:
        options = {"language": arguments.language} if arguments.language else {}
        traffic = Traffic(client, options, arguments.max_wer)
        traffic.learn(mix, expected)
        command = shown_command("soak", sys.argv[1:] if argv is None else argv)
        about = surroundings(client, command) | {
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": settings(arguments, mix, expected),
        }
        chaos = make_chaos(arguments, client, mix, options)
        run, events, checkpoints = soak(arguments, traffic, chaos, mix)
    result = SoakResult(about, run, events, checkpoints.verdicts(run.wall_s))
    path = write_report(result, arguments.out)
    for name, met, found in bars(result):
        print(f"{name:<46}{met.strip('*'):<14}{found}")
    print(f"wrote {path}", file=sys.stderr)
    return INTERRUPTED if run.interrupted else 0 if result.passed else 1


def soak(
    arguments: argparse.Namespace, traffic: Traffic, chaos: Chaos, mix: Mix
) -> tuple[LoadRun, list[Event], Checkpoints]:
    """The traffic with the chaos and the checkpoints beside it; Ctrl-C ends it early."""
    seconds = arguments.minutes * 60
    events: list[Event] = []
    checkpoints = Checkpoints()
    ports = watched_ports(arguments)
    acts = chaos_acts(chaos, seconds / 2)

    with LoadProgress() as progress:

        def act(moment_s: float) -> None:
            name, perform = acts(moment_s)
            try:
                result = perform()
            except Exception as error:  # any reaction to a hostile caller is a finding
                result = f"{type(error).__name__}: {error}"
            events.append(Event(moment_s, name, result))
            progress.note(f"{moment_s:6.0f} s  {name}: {result}")

        def checkpoint(moment_s: float) -> None:
            checkpoints.add(moment_s, processes(ports))

        progress.start("soak", None, seconds)
        jobs = (Job(clip) for clip in at_random(mix.clips, arguments.seed, mix.weights))
        runner = LoadRunner(traffic.send, arguments.concurrency, judge=traffic.judge)
        with (
            Ticker(arguments.chaos_every, act, at_once=False),
            Ticker(arguments.checkpoint_every, checkpoint, at_once=True),
        ):
            run = runner.run(jobs, progress.show, start_for_s=seconds)
    return run, events, checkpoints


def chaos_acts(chaos: Chaos, kills_until_s: float) -> Callable[[float], tuple[str, Callable[[], str]]]:
    """The act for each moment: all in turn, workers killed only until `kills_until_s`."""
    turn: Iterator[tuple[str, Callable[[], str]]] = cycle(chaos.acts)

    def at(moment_s: float) -> tuple[str, Callable[[], str]]:
        name, perform = next(turn)
        if name == "worker kill" and moment_s > kills_until_s:
            name, perform = next(turn)
        return name, perform

    return at


def make_chaos(
    arguments: argparse.Namespace, client: WhisperClient, mix: Mix, options: Mapping[str, Any]
) -> Chaos:
    longest = max(mix.clips, key=lambda clip: clip.audio_s or 0)
    return Chaos(
        client.url,
        token_of(arguments),
        client.form(longest.path, **options, stream=True),
        kill_workers_of=arguments.kill_worker_of,
        huge_megabytes=arguments.huge_megabytes,
        seed=arguments.seed,
    )


def watched_ports(arguments: argparse.Namespace) -> list[int]:
    """Ports whose servers' memory is followed: those named, and that of a server on this machine."""
    ports = {*arguments.watch, *([arguments.kill_worker_of] if arguments.kill_worker_of else [])}
    address = arguments.openai or arguments.url
    if is_loopback(address) and (port := urlsplit(address).port):
        ports.add(port)
    return sorted(ports)


def settings(arguments: argparse.Namespace, mix: Mix, expected: Mapping[str, str]) -> dict[str, Any]:
    names = ("minutes", "concurrency", "chaos_every", "checkpoint_every", "max_wer", "mix", "seed", "retries")
    values = {name: getattr(arguments, name) for name in names}
    referenced = sum(clip.path.stem in expected for clip in mix.clips)
    return values | {"clips": len(mix.clips), "references": referenced, "watched": watched_ports(arguments)}


def read_expected(paths: Sequence[Path]) -> dict[str, str]:
    """Reference texts by file stem; raises BadArgument."""
    try:
        return {path.stem: path.read_text("utf-8") for path in paths}
    except (OSError, UnicodeDecodeError) as error:
        raise BadArgument(f"cannot read a reference: {error}") from error


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        "Mixed traffic for minutes with chaos beside it; judges answers and memory.", EXAMPLES
    )
    parser.add_argument("paths", nargs="+", metavar="FILE|DIR", help="audio files, folders of them, or both")
    parser.add_argument(
        "--minutes", type=positive_number, default=30.0, metavar="N", help="(default: %(default)g)"
    )
    parser.add_argument(
        "--concurrency", type=positive_count, default=4, metavar="N", help="requests under way (%(default)d)"
    )
    parser.add_argument("--mix", metavar="SHARES", help="3s:0.7,30s:0.3: lengths cut from the files given")
    parser.add_argument("--language", metavar="CODE", help="spoken language (default: detected)")
    parser.add_argument(
        "--expect", nargs="+", type=Path, default=[], metavar="FILE",
        help="reference texts, by the clips' names",
    )  # fmt: skip
    parser.add_argument(
        "--max-wer", type=float, default=0.05, metavar="R",
        help="word error rate that still counts as right (%(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("tmp/soak"), metavar="DIR",
        help="for soak.md, soak.json, soak.png (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of clips and chaos")
    add_chaos_arguments(parser)
    add_server_arguments(parser)
    parser.set_defaults(retries=RETRIES)
    return parser.parse_args(argv)


def add_chaos_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("chaos and memory")
    group.add_argument(
        "--chaos-every", type=positive_number, default=30.0, metavar="S", help="(default: %(default)g)"
    )
    group.add_argument(
        "--kill-worker-of", type=positive_count, metavar="PORT",
        help="kill workers of the local TorchServe that listens there",
    )  # fmt: skip
    group.add_argument(
        "--huge-megabytes", type=positive_count, default=200, metavar="N",
        help="size of the huge file (%(default)d)",
    )  # fmt: skip
    group.add_argument(
        "--checkpoint-every", type=positive_number, default=5.0, metavar="S",
        help="memory (default: %(default)g)",
    )  # fmt: skip
    group.add_argument(
        "--watch", type=positive_count, nargs="+", default=[], metavar="PORT",
        help="follow the memory of the local servers that listen there",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(main))
