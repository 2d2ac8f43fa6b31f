"""Streams of open turns that have been heard so far, found again by the samples that they have heard.

A window of an open turn holds the whole turn, so that any worker can decode it. The worker that decoded the
window before it goes on where that one ended: a stream is known by the length and the digest of what it has
heard, and a window that begins with the same samples continues it. The result is the same as from the start.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from asr.schema import Samples

MAX_STREAMS = 256  # as many as the gateway's `realtime.max_streams`; the one that was fed longest ago goes

Key = tuple[tuple[str, ...], int, bytes]  # hotwords, samples, digest


@dataclass(frozen=True, slots=True)
class Heard:
    """A recognizer's stream and how many samples it has heard."""

    stream: Any
    num_samples: int


class HeardStreams:
    def __init__(self, max_streams: int = MAX_STREAMS) -> None:
        self._max_streams = max_streams
        self._kept: OrderedDict[Key, Heard] = OrderedDict()

    def take(self, samples: Samples, hotwords: tuple[str, ...]) -> Heard | None:
        """The stream that has heard most of the beginning of these samples; it is no longer kept."""
        lengths = sorted({length for _, length, _ in self._kept if length <= len(samples)})
        digest, place, found = hashlib.blake2b(digest_size=16), 0, None
        for length in lengths:
            digest.update(samples[place:length].tobytes())
            place = length
            key = (hotwords, length, digest.copy().digest())
            found = key if key in self._kept else found
        return None if found is None else self._kept.pop(found)

    def keep(self, stream: Any, samples: Samples, hotwords: tuple[str, ...]) -> None:
        """Remembers a stream that has heard exactly these samples."""
        digest = hashlib.blake2b(samples.tobytes(), digest_size=16).digest()
        self._kept[(hotwords, len(samples), digest)] = Heard(stream, len(samples))
        while len(self._kept) > self._max_streams:
            self._kept.popitem(last=False)
