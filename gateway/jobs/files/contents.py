"""The bytes of the files, in one folder. A file's row is written after its bytes are safe on the disk."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gateway.http.spool import disk_room

PIECE_BYTES = 1 << 20
FORGOTTEN_S = 86_400.0  # bytes of this age without a row belong to nobody: a gateway was killed


class Contents:
    """`directory/content/ID` for each file and each part of an upload."""

    def __init__(self, directory: Path) -> None:
        self._content = directory / "content"
        self.incoming = directory / "incoming"  # bodies that are being received: on the same disk

    def make(self) -> None:
        """Makes the folders, which this user alone may read."""
        for folder in (self._content, self.incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self._content / name

    def adopt(self, incoming: Path, name: str) -> None:
        """Gives a received file its name; raises Overloaded if the disk is full."""
        with disk_room():
            os.link(incoming, self.path(name))
            _sync(self.path(name))
            _sync(self._content)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A new file, which is whole on the disk when the block has ended, or not there at all."""
        unfinished = self.incoming / f"{name}.{os.getpid()}"
        with disk_room():
            try:
                with unfinished.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(self.path(name))
                _sync(self._content)
            finally:
                unfinished.unlink(missing_ok=True)

    def join(self, parts: Iterable[str], name: str) -> tuple[str, str]:
        """Puts parts together under a new name; returns the file's SHA-256 and MD5, in hexadecimal."""
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with self.writing(name) as whole:
            for part in parts:
                for piece in _pieces(self.path(part)):
                    sha256.update(piece)
                    md5.update(piece)
                    whole.write(piece)
        return sha256.hexdigest(), md5.hexdigest()

    def remove(self, *names: str) -> None:
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def forgotten(self) -> list[str]:
        """Names of content that is old; removes received bodies that nobody finished."""
        before = time.time() - FORGOTTEN_S
        for path in _old(self.incoming, before):
            path.unlink(missing_ok=True)
        return [path.name for path in _old(self._content, before)]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _old(folder: Path, before: float) -> Iterator[Path]:
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < before:
                yield path
        except FileNotFoundError:  # another gateway was quicker
            continue


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
