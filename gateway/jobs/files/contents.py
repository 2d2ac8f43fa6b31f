"""The bytes of the files, in a folder or a bucket. A file's row is written after its bytes are safe there."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gateway.http.spool import disk_room

PIECE_BYTES = 1 << 20
FORGOTTEN_S = 86_400.0  # bytes of this age without a row belong to nobody: a gateway was killed


class Contents(ABC):
    """The bytes of each file and of each part of an upload, by its name. Every method blocks, and raises
    Overloaded while the disk or the bucket takes nothing."""

    def __init__(self, incoming: Path) -> None:
        self.incoming = incoming  # a folder of this machine for bodies that are being received

    def make(self) -> None:
        """Makes the folders, which this user alone may read."""
        self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)

    @abstractmethod
    def adopt(self, incoming: Path, name: str) -> None:
        """Gives a received file its name; the file stays where it is, too."""

    @abstractmethod
    def fetch(self, name: str, target: Path) -> Path:
        """Where this machine has the bytes: `target`, if they had to be brought. Raises FileNotFoundError."""

    @abstractmethod
    def read(self, name: str, position: int, num_bytes: int) -> bytes:
        """A part of the bytes; raises FileNotFoundError."""

    @abstractmethod
    def remove(self, *names: str) -> None:
        """Removes those that are there."""

    @abstractmethod
    def _finish(self, unfinished: Path, name: str) -> None:
        """Gives a file in `incoming` its name, in place of one that has it."""

    @abstractmethod
    def _older_than(self, before: float) -> Iterator[str]:
        """Names of what was last written before this time in Unix seconds."""

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """The bytes as a file of this machine during the block; raises FileNotFoundError."""
        target = self.incoming / f"read-{uuid.uuid4().hex}"
        try:
            yield self.fetch(name, target)
        finally:
            target.unlink(missing_ok=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A new file, which is whole and safe when the block has ended, or not there at all."""
        unfinished = self.incoming / f"{name}.{os.getpid()}"
        with disk_room():
            try:
                with unfinished.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                self._finish(unfinished, name)
            finally:
                unfinished.unlink(missing_ok=True)

    def join(self, parts: Iterable[str], name: str) -> tuple[str, str]:
        """Puts parts together under a new name; returns the file's SHA-256 and MD5, in hexadecimal."""
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with self.writing(name) as whole:
            for part in parts:
                with self.local(part) as path:
                    for piece in pieces_of(path):
                        sha256.update(piece)
                        md5.update(piece)
                        whole.write(piece)
        return sha256.hexdigest(), md5.hexdigest()

    def forgotten(self) -> list[str]:
        """Names of content that is old; removes received bodies that nobody finished."""
        before = time.time() - FORGOTTEN_S
        for path in old_files(self.incoming, before):
            path.unlink(missing_ok=True)
        return list(self._older_than(before))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    for piece in pieces_of(path):
        digest.update(piece)
    return digest.hexdigest()


def pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def old_files(folder: Path, before: float) -> Iterator[Path]:
    """Files of a folder that were last written before this time in Unix seconds."""
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < before:
                yield path
        except FileNotFoundError:  # another gateway was quicker
            continue
