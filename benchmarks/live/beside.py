"""What goes on beside the streams: uploads of long files, and batches of clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from benchmarks.live.uploaded import ask
from whisper_client.batch_jobs import BatchJobs


@dataclass(slots=True)
class Beside:
    """What became of the requests beside the streams."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


def files_beside(
    url: str, body: bytes, count: int, *, to_the_end: bool = False
) -> AbstractContextManager[Beside]:
    """`count` clients that upload a long file again and again while the block runs.

    to_the_end: whether the block's end waits for the last ones' answers.
    """

    def send() -> int:
        ask(url, body)
        return 1

    return _beside(send, count, to_the_end)


def batches_beside(url: str, clips: Sequence[Path], count: int) -> AbstractContextManager[Beside]:
    """`count` clients that have all clips transcribed as a batch, again and again; the block's end waits for
    the last ones.

    A clip counts as answered when its batch holds exactly one text of it.
    """

    def send() -> int:
        with BatchJobs(f"{url}/v1") as jobs:
            files = {f"{number}/{clip.name}": jobs.upload(clip) for number, clip in enumerate(clips)}
            batch = jobs.submit(files, {"model": "whisper-1", "language": "en"})
            *_, ended = jobs.follow(batch["id"])
            results = list(jobs.results(ended))
        errors = [f"{one.name}: {one.error}" for one in results if one.error is not None]
        assert not errors, errors
        assert sorted(one.name for one in results) == sorted(files), "a line is missing or there twice"
        return len(results)

    return _beside(send, count, to_the_end=True)


@contextmanager
def _beside(send: Callable[[], int], count: int, to_the_end: bool) -> Iterator[Beside]:
    """Threads that call `send`, which returns how many answers it got, until the block ends."""
    over, found = Event(), Beside()

    def repeat() -> None:
        while not over.is_set():
            try:
                count_now = send()  # first: `+=` would read the sum before the call
                found.answered += count_now
            except Exception as error:
                if to_the_end or not over.is_set():  # else the end cut it off
                    found.failures.append(f"{type(error).__name__}: {error}")
                    over.wait(1.0)

    threads = [Thread(target=repeat, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        if to_the_end:
            for thread in threads:
                thread.join()
