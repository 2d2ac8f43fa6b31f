"""Shared by every source: errors, hashes, room on the disk, and one writer at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNK_BYTES = 1 << 20
SPARE_BYTES = 200_000_000  # left free on the disk

Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0: unknown)


class DownloadError(Exception):
    """The checkpoint is not there; the message is one line that says what to do."""


class Unavailable(DownloadError):
    """This source does not answer, or has it not: another one may."""


def sha256_of(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_space(directory: Path, needed: int) -> None:
    """Raises DownloadError unless the disk of `directory` has room for `needed` bytes and some more."""
    free = shutil.disk_usage(directory).free
    if needed > free - SPARE_BYTES:
        raise DownloadError(
            f"no room in {directory}: {needed / 1e9:.1f} GB to download, {free / 1e9:.1f} GB free"
        )


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Holds the file or folder `path`; raises DownloadError while another process does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DownloadError(f"another process is downloading {path}: wait for it") from error
        yield
    finally:
        os.close(descriptor)
