"""An upload's file on disk, written while the upload arrives."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from asr.errors import Overloaded
from gateway.media.sizes import SMALL_BYTES


@contextmanager
def disk_room() -> Iterator[None]:
    """Runs the block; raises Overloaded if the disk is full."""
    try:
        yield
    except OSError as error:
        raise Overloaded("the server has no room for this upload; try again later") from error


class Spool:
    """The file: its first bytes are written on the event loop, since they go to the system's cache, which is
    quicker than a thread; later ones in a thread. Raises Overloaded."""

    def __init__(self, spool_dir: Path | None) -> None:
        with disk_room():
            self._file: IO[bytes] = tempfile.NamedTemporaryFile(prefix="upload-", dir=spool_dir)  # noqa: SIM115
        self.path = Path(self._file.name)
        self._size = 0

    async def write(self, piece: bytes) -> None:
        self._size += len(piece)
        with disk_room():
            if self._size <= SMALL_BYTES:
                self._file.write(piece)
            else:
                await asyncio.to_thread(self._file.write, piece)

    def flush(self) -> None:
        """Puts everything that was written so far where readers of the path find it."""
        with disk_room():
            self._file.flush()

    def close(self) -> None:
        """Removes the file."""
        with suppress(OSError):  # unwritten bytes have no room, and nobody needs them
            self._file.close()
