"""Chunks of a stream's PCM → samples at 16 kHz, as if all chunks had come at once.

FFmpeg resamples and expands G.711, as it does for uploads: audio that is streamed and audio that is uploaded
become the same samples.
"""

from __future__ import annotations

import functools
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from asr.constants import SAMPLE_RATE
from asr.schema import Samples

Encoding = Literal["pcm16", "mulaw", "alaw"]

RATES = {"pcm16": 24_000, "mulaw": 8_000, "alaw": 8_000}  # Hz
SAMPLE_BYTES = {"pcm16": 2, "mulaw": 1, "alaw": 1}


class PcmStream:
    """One stream's reader. A chunk may end inside a sample: the odd byte waits for the next chunk."""

    def __init__(self, encoding: Encoding) -> None:
        """encoding: "pcm16" is little-endian at 24 kHz, "mulaw" and "alaw" are G.711 at 8 kHz; all mono."""
        self.encoding = encoding
        self._rate = RATES[encoding]
        self._odd = b""
        self._resampler: av.AudioResampler | None = None

    def read(self, chunk: bytes) -> Samples:
        """The samples that this chunk completes. The resampler keeps about a millisecond back."""
        chunk = self._odd + chunk
        whole = len(chunk) - len(chunk) % SAMPLE_BYTES[self.encoding]
        self._odd = chunk[whole:]
        if not whole:
            return np.empty(0, np.int16)
        frame = av.AudioFrame.from_ndarray(self._pcm(chunk[:whole])[np.newaxis], "s16", "mono")
        frame.sample_rate = self._rate
        if self._resampler is None:
            self._resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        return _joined(self._resampler.resample(frame))

    def flush(self) -> Samples:
        """The samples that the resampler keeps back; the next chunk begins anew, but for an odd byte."""
        if self._resampler is None:
            return np.empty(0, np.int16)
        rest = _joined(self._resampler.resample(None))
        self._resampler = None
        return rest

    def _pcm(self, whole: bytes) -> Samples:
        if self.encoding == "pcm16":
            return np.frombuffer(whole, "<i2").astype(np.int16, copy=False)
        return _expansion(self.encoding)[np.frombuffer(whole, np.uint8)]


def _joined(frames: list[av.AudioFrame]) -> Samples:
    parts: list[NDArray[np.int16]] = [frame.to_ndarray()[0] for frame in frames]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, np.int16)


@functools.cache
def _expansion(encoding: str) -> Samples:
    """The sample of each of the 256 codes of G.711."""
    decoder = av.CodecContext.create(f"pcm_{encoding}", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate = RATES[encoding]
    decoder.layout = "mono"
    return _joined(decoder.decode(av.Packet(bytes(range(256)))))
