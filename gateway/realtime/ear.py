"""Bytes of a stream → samples and their speech, off the event loop where there are many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import numpy as np

from asr.audio.vad import Probs
from asr.live.pcm_stream import RATES, SAMPLE_BYTES, Encoding, PcmStream
from asr.live.speech_meter import SpeechMeter
from asr.schema import Samples

SLICE_S = 10  # of audio that is heard at once: what a stream may delay its own other events by
INLINE_S = 0.5  # of audio: the hop to a thread takes longer
# of audio: less waits for more, because a call costs nearly as much for 20 ms as for 200
LEAST_S, LEAST_IDLE_S = 0.1, 0.25

NOTHING = np.empty(0, np.int16), np.empty(0, np.float32)


class Ear:
    """One stream's decoder and speech detector. Its audio is heard in order."""

    def __init__(self, encoding: Encoding) -> None:
        self._pcm = PcmStream(encoding)
        self._meter = SpeechMeter()
        self._at_work = threading.Lock()  # a cancelled wait for the thread leaves it at work for a moment
        self._waiting = bytearray()  # less than LEAST_IDLE_S

    @property
    def encoding(self) -> Encoding:
        return self._pcm.encoding

    def slices(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk in parts of at most SLICE_S."""
        size = SLICE_S * self._bytes_per_s
        for first in range(0, len(chunk), size):
            yield chunk[first : first + size]

    async def hear(self, chunk: bytes, *, is_idle: bool) -> tuple[Samples, Probs]:
        """The samples so far that were not heard, and the speech probability of the frames that they
        complete.

        is_idle: no turn is open; whether one begins may be known a little later.
        """
        self._waiting += chunk
        size = len(self._waiting)
        if size < (LEAST_IDLE_S if is_idle else LEAST_S) * self._bytes_per_s:
            return NOTHING
        waiting = self._taken()
        return (
            self._hear(waiting)
            if size <= INLINE_S * self._bytes_per_s
            else await asyncio.to_thread(self._hear, waiting)
        )

    def flush(self) -> tuple[Samples, Probs]:
        """The rest: what waits, and what the resampler keeps back."""
        with self._at_work:
            samples = np.concatenate((self._pcm.read(self._taken()), self._pcm.flush()))
            return samples, self._meter.hear(samples)

    def change_encoding(self, encoding: Encoding) -> tuple[Samples, Probs]:
        """Hears the chunks to come in another encoding; the rest of those before."""
        rest = self.flush()
        self._pcm = PcmStream(encoding)
        return rest

    @property
    def _bytes_per_s(self) -> int:
        return RATES[self.encoding] * SAMPLE_BYTES[self.encoding]

    def _hear(self, chunk: bytes) -> tuple[Samples, Probs]:
        with self._at_work:
            samples = self._pcm.read(chunk)
            return samples, self._meter.hear(samples)

    def _taken(self) -> bytes:
        waiting = bytes(self._waiting)
        self._waiting.clear()
        return waiting
