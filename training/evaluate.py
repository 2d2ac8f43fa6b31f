"""Clips of held-out utterances, and their transcripts by unmodified upstream code."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass

import numpy as np
import torch
import whisper
from torch import Tensor
from whisper.decoding import DecodingOptions
from whisper.model import Whisper

from training.corpus import Corpus, Utterance
from training.speech import SAMPLE_RATE

BATCH = 25
Span = tuple[str, float, float]  # word, start_s, end_s


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio float32 [n] at 16 kHz, and for each utterance in it its (word, start_s, end_s)."""

    samples: np.ndarray
    language: str
    voice: str
    utterances: tuple[tuple[Span, ...], ...]

    @property
    def spans(self) -> list[Span]:
        return [span for utterance in self.utterances for span in utterance]

    @property
    def reference(self) -> str:
        return " ".join(word for word, _, _ in self.spans)


def normalised(text: str) -> str:
    """NFC, lower case, without punctuation and symbols; combining marks are kept (Indic vowels are marks)."""
    folded = unicodedata.normalize("NFC", text.lower())
    kept = "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in folded)
    return " ".join(kept.split())


def packed_clip(rng: random.Random, utterances: list[Utterance]) -> Clip:
    """Utterances of one language with pauses of 0.3 to 1 s between and around them."""
    pieces, placed, length = [], [], 0
    for utterance in utterances:
        pause = round(rng.uniform(0.3, 1.0) * SAMPLE_RATE)
        pieces += [np.zeros(pause, np.float32), utterance.samples * 0.7]
        start = (length + pause) / SAMPLE_RATE
        placed.append(tuple((word, begin + start, end + start) for word, begin, end in utterance.words))
        length += pause + len(utterance.samples)
    pieces.append(np.zeros(SAMPLE_RATE // 3, np.float32))
    return Clip(np.concatenate(pieces), utterances[0].language, utterances[0].voice, tuple(placed))


def clips(corpus: Corpus, language: str, count: int, per_clip: int, seed: int = 0) -> list[Clip]:
    """`count` clips of `per_clip` utterances each, at most 29 s long; the same ones for the same seed."""
    rng = random.Random(f"{seed}/{language}/{per_clip}")
    found: list[Clip] = []
    while len(found) < count:
        clip = packed_clip(rng, [corpus.draw(rng, language) for _ in range(per_clip)])
        if len(clip.samples) <= 29 * SAMPLE_RATE:
            found.append(clip)
    return found


def clip_mel(samples: np.ndarray) -> Tensor:
    """Log-Mel spectrogram [80, 3000], padded with zeros of the waveform as upstream does."""
    return whisper.log_mel_spectrogram(whisper.pad_or_trim(samples), 80)


@torch.inference_mode()
def transcripts(model: Whisper, wanted: list[Clip], timestamps: bool) -> list[str]:
    """Greedy transcripts, each in its clip's language."""
    texts: list[str] = []
    for language in ("en", "hi"):
        options = DecodingOptions(language=language, without_timestamps=not timestamps, fp16=False)
        chosen = [clip for clip in wanted if clip.language == language]
        for start in range(0, len(chosen), BATCH):
            mel = torch.stack([clip_mel(clip.samples) for clip in chosen[start : start + BATCH]])
            texts += [result.text for result in model.decode(mel, options)]
    order = [i for language in ("en", "hi") for i, clip in enumerate(wanted) if clip.language == language]
    return [text for _, text in sorted(zip(order, texts, strict=True))]
