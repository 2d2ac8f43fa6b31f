"""Where a media process writes what it prepared: memory without a name, sealed before it is read.

A process that was taken over keeps its descriptor. It could cut a file off after its answer was checked, and
the gateway, reading samples that it had mapped, would end by SIGBUS. Nobody cuts or changes what is sealed.
Systems without memfd (macOS) have a temporary file instead, and trust the process.
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
    """No honest process maps its output, or seals it."""


def new_output(spool_dir: Path | None) -> IO[bytes]:
    """An empty file that is gone when it is closed and no mapping of it is left."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("prepared", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")
    return tempfile.TemporaryFile(dir=spool_dir)


def seal(output: IO[bytes]) -> None:
    """Ends all writing to an output; raises StillWritten where a process keeps it mapped for that."""
    if sys.platform != "linux":
        return
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    try:
        fcntl.fcntl(output.fileno(), fcntl.F_ADD_SEALS, seals)
    except OSError as error:
        raise StillWritten(str(error)) from error


def mapped_samples(output: IO[bytes], num_samples: int) -> NDArray[np.int16]:
    """The first samples of an output, read from it as they are needed."""
    # private: before Linux 6.7, sealed memory cannot be mapped in common, not even for reading
    pages = mmap.mmap(output.fileno(), 2 * num_samples, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    return np.frombuffer(pages, np.int16, num_samples)
