"""Contents in a folder, which several gateways may share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gateway.http.spool import disk_room
from gateway.jobs.files.contents import Contents, old_files


class FolderContents(Contents):
    """`directory/content/ID`; what is being received lies beside it, on the same disk."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "incoming")
        self._content = directory / "content"

    def make(self) -> None:
        super().make()
        self._content.mkdir(mode=0o700, exist_ok=True)

    def adopt(self, incoming: Path, name: str) -> None:
        with disk_room():
            os.link(incoming, self._path(name))
            _sync(self._path(name))
            _sync(self._content)

    def fetch(self, name: str, target: Path) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise FileNotFoundError(path)
        return path

    def read(self, name: str, position: int, num_bytes: int) -> bytes:
        with self._path(name).open("rb") as file:
            file.seek(position)
            return file.read(num_bytes)

    def remove(self, *names: str) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def _finish(self, unfinished: Path, name: str) -> None:
        unfinished.replace(self._path(name))
        _sync(self._content)

    def _older_than(self, before: float) -> Iterator[str]:
        return (path.name for path in old_files(self._content, before))

    def _path(self, name: str) -> Path:
        return self._content / name


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
