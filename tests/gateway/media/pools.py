"""Pools of media processes for tests, and a look at the processes themselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asr.config import Limits
from gateway.media.pool import MediaPool
from gateway.settings import MediaSettings
from tests.asr.containers import repeated_flac, tone, wav

LIMITS = Limits()
OTHERS: set[int] = set()  # media processes of gateways that other tests keep running in this process


@asynccontextmanager
async def running(spool: Path, **settings: Any) -> AsyncIterator[MediaPool]:
    """A pool of one process, unless told otherwise, whose files go to `spool`."""
    OTHERS.update(child_pids())
    pool = MediaPool(MediaSettings(**{"processes": 1, "spool_dir": spool, **settings}), LIMITS)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()
        assert child_pids() == []


async def until(is_true: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(60):
        while not is_true():
            await asyncio.sleep(0.01)
    assert is_true(), what


async def until_ready(pool: MediaPool, number: int = 1) -> None:
    await until(lambda: pool.stats()["ready"] >= number, "ready")


async def reader_of(upload: Path) -> int:
    """The process that reads this very upload, as soon as one has mapped it."""
    name = str(upload).encode()
    found: list[int] = []

    def is_read() -> bool:
        found[:] = [pid for pid in child_pids() if name in _read(Path(f"/proc/{pid}/maps"))]
        return bool(found)

    await until(is_read, f"{upload.name} is read")
    return found[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process ended meanwhile
        return b""


def child_pids(parent: int | None = None) -> list[int]:
    """The media processes that run now, as children of `parent` or of this process, without OTHERS."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                command = (process / "cmdline").read_bytes()
                fields = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            is_ours = int(fields[1]) == (parent or os.getpid())
            if b"gateway.media.child" in command and is_ours and fields[0] != "Z":
                found.append(int(process.name))
    return sorted(set(found) - OTHERS)


def short_upload(folder: Path, seconds: float = 2.0) -> Path:
    return stored(folder / f"short-{seconds}.wav", wav(tone(seconds)))


def long_upload(folder: Path, minutes: int = 230) -> Path:
    """Hours of silence in few bytes: it keeps a process busy for half a minute where speech is detected."""
    return stored(folder / f"long-{minutes}.flac", repeated_flac(minutes, declared_samples=0))


def stored(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path
