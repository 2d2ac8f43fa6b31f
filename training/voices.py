"""Which synthetic voices speak for training, and which are kept for the test set."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training import espeak, flite
from training.speech import Speech, at_16_khz

ACCENTS = {"en": ("en-us", "en-us", "en-gb-x-rp"), "hi": ("hi",)}
TRAIN_VARIANTS = (
    "", "m1", "m2", "m3", "m5", "m7", "f1", "f2", "f4", "f5",
    "Andy", "Gene", "Lee", "Mike", "adam", "benjamin", "david", "steph", "rob", "max",
    "Alex", "Alicia", "Andrea", "Annie", "Denis", "Jacky", "anika", "antonio", "belinda", "ed", "edward",
    "john", "paul", "quincy", "robert", "sandro", "shelby", "victor", "Diogo", "Henrique", "Mario",
    "gustave", "marcelo",
)  # fmt: skip
NEAR_VARIANTS = ("", "m1", "m3", "m7", "f1", "f2", "f4")  # learnt first
TEST_VARIANTS = ("f3", "m4", "Michael", "linda")
FLITE = ("slt", "rms", "awb", "kal16")
FLITE_SHARE = 0.34  # of the English utterances


@dataclass(frozen=True, slots=True)
class Voice:
    """One way of speaking: the synthesiser, its voice, tempo, pitch, and a resampling factor."""

    engine: str
    name: str
    rate: float  # words a minute (espeak-ng) or stretch (flite)
    pitch: int  # 0..100, espeak-ng only
    speed: float

    def speak(self, words: list[str]) -> Speech:
        """The words at 16 kHz, trimmed, with word times."""
        if self.engine == "flite":
            speech = flite.engine().speak(words, self.name, self.rate)
        else:
            speech = espeak.engine().speak(words, self.name, int(self.rate), self.pitch)
        return at_16_khz(speech, self.speed)

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"


def draw_voice(rng: random.Random, language: str, is_test: bool) -> Voice:
    """A random voice; the test set has other espeak-ng variants, and other tempi of flite."""
    speed = rng.uniform(0.95, 1.06) if is_test else rng.uniform(0.87, 1.12)
    if language == "en" and rng.random() < FLITE_SHARE:
        stretch = rng.uniform(0.84, 0.88) if is_test else rng.choice((0.74, 0.80, 0.92, 1.0))
        return Voice("flite", rng.choice(FLITE), stretch, 50, speed)
    variant = rng.choice(TEST_VARIANTS if is_test else TRAIN_VARIANTS)
    name = rng.choice(ACCENTS[language]) + (f"+{variant}" if variant else "")
    return Voice("espeak-ng", name, rng.uniform(150, 220), rng.randint(35, 68), speed)
