"""A bound on what FFmpeg allocates for an upload's tables.

A few kilobytes of mp4 can announce a table of 40 million samples, for which the demuxer allocates and fills
1.4 GB (measured). FFmpeg can refuse single allocations above a size (`av_max_alloc`), which PyAV does not
offer, so it is called in PyAV's own copy of the library. Four hours of 10 ms packets need 35 MB.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path

import av

MAX_ALLOCATION_BYTES = 64 * 1024 * 1024
MAX_STREAMS = 16  # each may have tables of that size
LIBRARY_FOLDERS = ("../av.libs", ".dylibs")  # where PyAV's wheels for Linux, Windows and macOS keep FFmpeg

logger = logging.getLogger(__name__)


@functools.cache
def bound_allocations() -> bool:
    """Bounds every single allocation of this process's FFmpeg, once; False if its library was not found."""
    package = Path(av.__file__).parent
    for folder in LIBRARY_FOLDERS:
        for library in sorted((package / folder).glob("*avutil*")):
            try:
                max_alloc = ctypes.CDLL(str(library)).av_max_alloc
            except (OSError, AttributeError):
                continue
            max_alloc.argtypes = [ctypes.c_size_t]
            max_alloc.restype = None
            max_alloc(MAX_ALLOCATION_BYTES)
            return True
    logger.warning("FFmpeg's allocations are not bounded: its libavutil was not found beside PyAV")
    return False
