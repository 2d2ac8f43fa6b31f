"""Seeded random checkpoints with the sizes of OpenAI's models, sounds for them, and real speech.

Random weights cost what trained ones cost. End-of-text has an embedding of zeros, so it is never the
likeliest token and every window decodes exactly as many tokens as it is allowed, in every engine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from asr.audio import media  # noqa: E402
from asr.config import Limits  # noqa: E402
from asr.constants import SAMPLE_RATE  # noqa: E402
from tests.asr.checkpoints import dims, random_audio, random_model, save_checkpoint  # noqa: E402

# name → state, heads, layers of encoder and decoder; "nano" is for trying the programs out
SIZES = {"nano": (64, 2, 2), "tiny": (384, 6, 4), "base": (512, 8, 6), "small": (768, 12, 12)}
SEED = 11
CLIPS = ("harvard.wav", "garden.m4a")  # of samples/; both end in silence


def checkpoint(size: str, folder: Path) -> Path:
    """The file of a random model of that size, written when it is not there yet."""
    path = folder / f"random-{size}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        state, heads, layers = SIZES[size]
        sizes = dims(state=state, heads=heads, layers=layers)
        save_checkpoint(random_model(sizes, SEED, end_weight=0.0), path)
    return path


def sounds(count: int, seconds: float = 30.0) -> list[NDArray[np.int16]]:
    """Windows of int16 PCM at 16 kHz, always the same."""
    return [random_audio(seconds, seed) for seed in range(count)]


def speech(seconds: float) -> NDArray[np.int16]:
    """`seconds` of the samples, one after the other, repeated as needed; int16 [samples]."""
    clips = [media.decode((ROOT / "samples" / name).read_bytes(), Limits()).samples for name in CLIPS]
    return np.resize(np.concatenate(clips), round(seconds * SAMPLE_RATE))
