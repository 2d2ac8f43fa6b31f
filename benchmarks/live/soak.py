#!/usr/bin/env python3
"""Streams beside files and batches for minutes, while workers are killed: nothing lost, memory flat.

The recordings are played again and again, each time over a new stream. A worker is killed every --kill-every
seconds in the first half; in the second the gateway's memory is judged, for which nothing is killed.

    python benchmarks/live/soak.py clips/manifest.jsonl --model whisper-models/tiny.en --minutes 30

Exit code: 0 when the bar was met, 1 when not.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

from benchmarks.closed_loop import wav  # noqa: E402
from benchmarks.live.beside import batches_beside, files_beside  # noqa: E402
from benchmarks.live.playing import PlayedTurn, played  # noqa: E402
from benchmarks.live.programmes import Programme, programmes  # noqa: E402
from benchmarks.live.serving import rss_mib, serving  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from tests.live.faults.stack import Gateway  # noqa: E402
from tests.servers import Server  # noqa: E402
from whisper_client.command_line import positive_count, positive_number, run  # noqa: E402
from whisper_client.references import read_references  # noqa: E402

PROGRAMME_S = 40.0  # of one stream, then a new one begins
FILE_S = 120.0
BATCH_CLIPS = 20
LOOK_S = 5.0  # between two looks at the memory
MAX_GROWTH = 0.05  # of the gateway's memory, from the third quarter to the last


@dataclass(slots=True)
class Watch:
    """Kills workers and notes the gateway's memory until it is stopped."""

    server: Server
    gateway: Gateway
    kill_every_s: float
    kill_until_s: float
    num_killed: int = 0
    mib: list[float] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def run(self) -> None:
        began_at = killed_at = time.monotonic()
        while not self.over.wait(LOOK_S):
            now = time.monotonic()
            self.mib.append(rss_mib(self.gateway.process.pid))
            if now - killed_at >= self.kill_every_s and now - began_at < self.kill_until_s:
                killed_at = now
                for pid in self.server.worker_pids()[:1]:
                    os.kill(pid, signal.SIGKILL)
                    self.num_killed += 1

    @property
    def growth(self) -> float:
        """Of the last quarter's mean over the third's, as a fraction."""
        size = len(self.mib) // 4
        third, last = self.mib[-2 * size : -size], self.mib[-size:]
        return sum(last) / max(sum(third), 1.0) - 1.0 if size else 0.0

    @property
    def memory(self) -> str:
        growth = f"{100 * self.growth:+.1f} % from the third quarter to the last"
        return f"gateway {min(self.mib):.0f} to {max(self.mib):.0f} MiB, {growth}"


def turns_of(url: str, programme: Programme, until: float) -> list[PlayedTurn]:
    """The turns of one stream after the other; raises for an `error` or a turn that failed."""
    found: list[PlayedTurn] = []
    while time.monotonic() < until:
        found += played(url, [programme], None)[0]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    given = parser().parse_args(argv)
    references = read_references(given.manifest)
    spoken = programmes(references, given.streams, PROGRAMME_S)
    english = [one.audio for one in references if one.text and one.language == "en"]
    clips = english[:: len(english) // BATCH_CLIPS][:BATCH_CLIPS]
    body = wav(programmes(references, 1, FILE_S)[0].samples())
    found, seconds = conditions(), 60 * given.minutes
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        jobs = {"GATEWAY_JOBS__DIRECTORY": f"{name}/jobs"}
        server, gateway = stack.enter_context(serving(given.model, Path(name), {}, **jobs))
        watch = stack.enter_context(watching(Watch(server, gateway, given.kill_every, seconds / 2)))
        until = time.monotonic() + seconds
        with (
            files_beside(gateway.url, body, given.files, to_the_end=True) as files,
            batches_beside(gateway.url, clips, given.batches) as lines,
            ThreadPoolExecutor(given.streams) as pool,
        ):
            each = pool.map(lambda one: turns_of(gateway.url, one, until), spoken)
            turns = [turn for one in each for turn in one]
    unanswered = [turn for turn in turns if turn.num_finals != 1]
    failures = [*files.failures, *lines.failures]
    print(
        f"{given.minutes:g} minutes, {given.streams} streams, {given.files} files, {given.batches} batches "
        f"of {len(clips)} clips at a time\n{len(turns)} turns, {len(unanswered)} not answered once; "
        f"{files.answered} files and {lines.answered} lines answered, {len(failures)} failures\n"
        f"{watch.num_killed} workers killed; {watch.memory}"
    )
    print(*failures, conditions_text(found), sep="\n")
    return 1 if unanswered or failures or not turns or watch.growth > MAX_GROWTH else 0


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Runs it beside the block."""
    thread = Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        thread.join()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("manifest", type=Path)
    made.add_argument("--model", type=Path, required=True, help="checkpoint, a file or a folder")
    made.add_argument("--minutes", type=positive_number, default=30.0, help="(default: %(default)g)")
    made.add_argument("--streams", type=positive_count, default=8, help="at a time (default: %(default)d)")
    made.add_argument("--files", type=int, default=2, help="uploads under way (default: %(default)d)")
    made.add_argument("--batches", type=int, default=2, help="under way (default: %(default)d)")
    made.add_argument("--kill-every", type=positive_number, default=60.0, metavar="S", help="(%(default)g)")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
