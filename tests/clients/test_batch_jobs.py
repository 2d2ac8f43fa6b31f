"""The client of files and batches: uploads side by side, and looks that come soon after a batch's end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from whisper_client import batch_jobs
from whisper_client.batch_jobs import LAST_LOOK_S, LOOK_S, UPLOADS_AT_ONCE, BatchJobs
from whisper_client.errors import ServerRefused

NUM_FILES = 3 * UPLOADS_AT_ONCE
WAIT_S = 60


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchJobs]:
    with BatchJobs("http://127.0.0.1:9/v1") as made:
        yield made


def named(count: int = NUM_FILES) -> dict[str, Path]:
    return {f"{number}.wav": Path(f"/{number}") for number in range(count)}


def test_files_are_uploaded_side_by_side_and_keep_their_names(
    jobs: BatchJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(UPLOADS_AT_ONCE)

    def upload(path: Path) -> str:
        together.wait(WAIT_S)  # breaks unless as many are under way
        return f"file-{path.name}"

    monkeypatch.setattr(jobs, "upload", upload)
    assert list(jobs.upload_all(named())) == [
        (f"{number}.wav", f"file-{number}") for number in range(NUM_FILES)
    ]


def test_after_a_refused_upload_no_other_one_begins(jobs: BatchJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    is_refused = threading.Event()

    def upload(path: Path) -> str:
        begun.append(path.name)
        if path.name == "0":
            raise ServerRefused("too large", status=413, tries=1)
        assert is_refused.wait(WAIT_S)
        return path.name

    class Pool(ThreadPoolExecutor):
        def __exit__(self, *error: Any) -> None:
            is_refused.set()  # the others under way may end
            super().__exit__(*error)

    monkeypatch.setattr(jobs, "upload", upload)
    monkeypatch.setattr(batch_jobs, "ThreadPoolExecutor", Pool)
    with pytest.raises(ServerRefused, match="too large"):
        list(jobs.upload_all(named()))
    assert len(begun) <= UPLOADS_AT_ONCE + 1, "the thread that was refused took one more"


def test_the_nearer_the_end_the_sooner_the_next_look(
    jobs: BatchJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 10.0)
    pauses: list[float] = []
    states = [("validating", 0, 0), ("in_progress", 0, 100), ("in_progress", 90, 100)]
    states += [("in_progress", 98, 100), ("in_progress", 100, 100), ("completed", 100, 100)]
    batches = iter(
        {"status": status, "request_counts": {"completed": done, "failed": 0, "total": total}}
        for status, done, total in states
    )
    monkeypatch.setattr(batch_jobs.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(jobs, "status", lambda _: next(batches))
    monkeypatch.setattr(jobs, "_sleep", pauses.append)
    assert [batch["status"] for batch in jobs.follow("batch_0")] == [status for status, _, _ in states]
    # 30 s for 90 lines: ten take 3.3 s; 40 s for 98: two take 0.8 s
    assert pauses == [LOOK_S, LOOK_S, LOOK_S, pytest.approx(0.41, abs=0.01), LAST_LOOK_S]
