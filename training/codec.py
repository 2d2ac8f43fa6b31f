"""Speech after a lossy codec, in memory and without a shift in time."""

from __future__ import annotations

import io
import random

import av
import numpy as np

from training.speech import SAMPLE_RATE

CODECS = {  # name: container, encoder, its rate in Hz, bit rates
    "mp3": ("mp3", "libmp3lame", 16_000, (16_000, 24_000, 32_000, 48_000)),
    "opus": ("ogg", "libopus", 16_000, (8_000, 12_000, 16_000, 24_000)),
}
MAX_SHIFT = 1600  # samples: more than either codec's delay


def encoded(samples: np.ndarray, codec: str, bit_rate: int) -> bytes:
    """A whole file of the codec from float32 [n] at 16 kHz."""
    container_format, encoder, rate, _ = CODECS[codec]
    target = io.BytesIO()
    with av.open(target, "w", format=container_format) as container:
        stream = container.add_stream(encoder, rate=rate, layout="mono", bit_rate=bit_rate)
        pcm = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler(stream.format.name, "mono", rate, stream.frame_size or 1152)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return target.getvalue()


def decoded(data: bytes) -> np.ndarray:
    """float32 [n] at 16 kHz of a whole audio file."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(io.BytesIO(data)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def coded(rng: random.Random, samples: np.ndarray) -> tuple[np.ndarray, str]:
    """The samples [n] through a random codec, shifted back to where they were, and its name."""
    codec = rng.choice(sorted(CODECS))
    received = decoded(encoded(samples, codec, rng.choice(CODECS[codec][3])))
    size = 1 << (len(samples) + len(received)).bit_length()
    match = np.fft.irfft(np.fft.rfft(received, size) * np.fft.rfft(samples, size).conj(), size)
    shift = int(np.argmax(np.concatenate([match[-MAX_SHIFT:], match[:MAX_SHIFT]]))) - MAX_SHIFT
    aligned = np.zeros(len(samples), np.float32)
    source = received[max(shift, 0) : max(shift, 0) + len(samples) + min(shift, 0)]
    start = max(-shift, 0)
    aligned[start : start + len(source)] = source
    return aligned, codec
