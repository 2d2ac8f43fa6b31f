"""The output of a media process: memory without a name, sealed before the gateway reads it.

A process that an attacker has taken over keeps its descriptor. It could truncate a file after the gateway has
checked its answer, and the gateway would die of SIGBUS when it reads the mapped samples. Sealed memory can be
neither truncated nor changed. Systems without memfd (macOS) use a temporary file and trust the process.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray


class StillWritten(Exception):
    """The process maps its output for writing or has sealed it; no honest process does."""


def new_output(spool_dir: Path | None) -> IO[bytes]:
    """An empty file that is gone once it is closed and no longer mapped."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("prepared", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")
    return tempfile.TemporaryFile(dir=spool_dir)


def seal(output: IO[bytes]) -> None:
    """Ends all writing to an output; raises StillWritten if a process keeps it mapped for writing."""
    if sys.platform != "linux":
        return
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    try:
        fcntl.fcntl(output.fileno(), fcntl.F_ADD_SEALS, seals)
    except OSError as error:
        raise StillWritten(str(error)) from error


def mapped_samples(output: IO[bytes], num_samples: int) -> NDArray[np.int16]:
    """The first samples of an output, read page by page as they are needed."""
    # private: before Linux 6.7, sealed memory has no shared mapping, not even for reading
    pages = mmap.mmap(output.fileno(), 2 * num_samples, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    return np.frombuffer(pages, np.int16, num_samples)
