"""Noise, tones and channel effects on float32 samples at 16 kHz."""

from __future__ import annotations

import random

import numpy as np

from training.speech import SAMPLE_RATE

NOISES = ("white", "pink", "brown", "hum")


def coloured_noise(seed: int, num_samples: int, kind: str) -> np.ndarray:
    """Unit-variance noise [num_samples]: white, pink (1/f), brown (1/f²), or mains hum with harmonics."""
    generator = np.random.default_rng(seed)
    if kind == "hum":
        time = np.arange(num_samples, dtype=np.float32) / SAMPLE_RATE
        base = generator.choice([50.0, 60.0, 100.0, 120.0]) * generator.uniform(0.99, 1.01)
        weights = generator.uniform(0, 1, 8) / np.arange(1, 9)
        phases = generator.uniform(0, 2 * np.pi, 8)
        noise = sum(
            w * np.sin(2 * np.pi * base * (k + 1) * time + p)
            for k, (w, p) in enumerate(zip(weights, phases, strict=True))
        )
        noise = noise + 0.02 * generator.standard_normal(num_samples)
    else:
        noise = generator.standard_normal(num_samples).astype(np.float32)
        if kind != "white":
            spectrum = np.fft.rfft(noise)
            frequencies = np.maximum(np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE), 20.0)
            spectrum /= frequencies ** (0.5 if kind == "pink" else 1.0)
            noise = np.fft.irfft(spectrum, num_samples)
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


def music_like(seed: int, num_samples: int) -> np.ndarray:
    """Notes with harmonics and decay, chords, a sweep, a steady tone, or beeps; peak about 1."""
    generator = np.random.default_rng(seed)
    time = np.arange(num_samples, dtype=np.float32) / SAMPLE_RATE
    kind = generator.integers(4)
    if kind == 0:
        frequencies = generator.uniform(80, 3500, generator.integers(1, 5))
        sound = sum(np.sin(2 * np.pi * f * time) for f in frequencies) / len(frequencies)
    elif kind == 1:
        low, high = np.sort(generator.uniform(60, 5000, 2))
        sound = np.sin(2 * np.pi * (low * time + (high - low) * time**2 / (2 * max(time[-1], 1e-3))))
    else:
        sound = np.zeros(num_samples, np.float32)
        position = 0
        while position < num_samples:
            length = int(generator.uniform(0.1, 0.8) * SAMPLE_RATE)
            note = time[: min(length, num_samples - position)]
            frequency = 110 * 2 ** (generator.integers(0, 48) / 12)
            decay = np.exp(-note * generator.uniform(1, 8))
            for harmonic in range(1, 5 if kind == 2 else 2):
                sound[position : position + len(note)] += (
                    decay * np.sin(2 * np.pi * frequency * harmonic * note) / harmonic
                )
            position += int(length * generator.uniform(0.3, 1.5)) + 1
    return (sound / (np.abs(sound).max() + 1e-9)).astype(np.float32)


def no_speech(rng: random.Random, num_samples: int) -> np.ndarray:
    """Something to write no words about: digital silence, noise, tones, or clicks, at any level."""
    kind, seed = rng.random(), rng.getrandbits(32)
    if kind < 0.15:
        return np.zeros(num_samples, np.float32)
    level = 10 ** (rng.uniform(-70, -8) / 20)
    if kind < 0.62:
        sound = coloured_noise(seed, num_samples, rng.choice(NOISES)) * (0.3 * level)
    elif kind < 0.92:
        sound = music_like(seed, num_samples) * level
        if rng.random() < 0.5:
            sound += coloured_noise(seed + 1, num_samples, rng.choice(NOISES)) * (0.1 * level)
    else:
        sound = np.zeros(num_samples, np.float32)
        for _ in range(rng.randint(1, 20)):
            sound[rng.randrange(num_samples)] = rng.uniform(-1, 1)
    return sound.astype(np.float32)


def band_limited(samples: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """The samples with soft edges outside the band removed."""
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    gain = 1 / (1 + (frequencies / high_hz) ** 16) / (1 + (low_hz / np.maximum(frequencies, 1.0)) ** 8)
    return np.fft.irfft(spectrum * gain, len(samples)).astype(np.float32)


def equalised(samples: np.ndarray, gains_db: list[float]) -> np.ndarray:
    """The samples with gains that are linear between points spaced evenly on the mel scale, 0 to 8 kHz."""
    spectrum = np.fft.rfft(samples)
    mels = np.log1p(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE) / 700)
    points = np.linspace(0, mels[-1], len(gains_db))
    gain = 10 ** (np.interp(mels, points, gains_db) / 20)
    return np.fft.irfft(spectrum * gain, len(samples)).astype(np.float32)


def reverberated(samples: np.ndarray, seed: int, decay_s: float, wet: float) -> np.ndarray:
    """The samples with an exponentially decaying noise tail added; the direct sound keeps its time."""
    generator = np.random.default_rng(seed)
    length = int(decay_s * SAMPLE_RATE)
    tail = generator.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail[: SAMPLE_RATE // 200] = 0
    tail *= wet / (np.sqrt((tail**2).sum()) + 1e-9)
    size = len(samples) + length
    echo = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)]
    return (samples + echo).astype(np.float32)


def channel(rng: random.Random, samples: np.ndarray) -> np.ndarray:
    """Speech after a random light channel: other timbre, a telephone-like band, a small room, or noise."""
    if rng.random() < 0.6:
        samples = equalised(samples, [rng.uniform(-10, 5) for _ in range(8)])
    if rng.random() < 0.15:
        samples = band_limited(samples, rng.uniform(30, 250), rng.uniform(3300, 6500))
    if rng.random() < 0.15:
        samples = reverberated(samples, rng.getrandbits(32), rng.uniform(0.1, 0.35), rng.uniform(0.1, 0.5))
    if rng.random() < 0.4:
        level = np.sqrt((samples**2).mean()) * 10 ** (-rng.uniform(10, 35) / 20)
        samples = samples + level * coloured_noise(rng.getrandbits(32), len(samples), rng.choice(NOISES))
    return samples
