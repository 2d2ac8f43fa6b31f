"""Word error rate of a checkpoint on held-out utterances, decoded by unmodified upstream code."""

from __future__ import annotations

import argparse
import csv
import random
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import whisper
from jiwer import process_words
from torch import Tensor
from whisper.decoding import DecodingOptions
from whisper.model import Whisper

from training.corpus import Corpus, Utterance
from training.export import export
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


def word_error_rate(wanted: list[Clip], texts: list[str]) -> float:
    """WER after `normalised` on both sides."""
    references = [normalised(clip.reference) for clip in wanted]
    return process_words(references, [normalised(text) for text in texts]).wer


def development_scores(model: Whisper, corpus: Corpus, count: int) -> dict[str, float]:
    """WER of `count` short clips a language, and of a quarter as many dense ones with timestamps."""
    scores = {}
    for language in ("en", "hi"):
        short = clips(corpus, language, count, 1)
        dense = clips(corpus, language, max(count // 4, 1), 5)
        scores[f"{language}_short"] = word_error_rate(short, transcripts(model, short, timestamps=False))
        scores[f"{language}_dense"] = word_error_rate(dense, transcripts(model, dense, timestamps=True))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("training/runs/demo"))
    parser.add_argument("--data", type=Path, default=Path("training/runs/speech/test"))
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--every", type=float, help="minutes between two repetitions")
    given = parser.parse_args()
    torch.set_num_threads(1)
    corpus, table = Corpus(given.data), given.run / "scores.csv"
    while True:
        state = torch.load(given.run / "checkpoint.pt", map_location="cpu", weights_only=True)
        export(given.run / "checkpoint.pt", given.run / "demo.pt")
        model = whisper.load_model(str(given.run / "demo.pt"), "cpu")
        scores = development_scores(model, corpus, given.count)
        row = {"step": state["step"], "hours": round(state["audio_s"] / 3600, 2)}
        row |= {name: round(value, 4) for name, value in scores.items()}
        is_new = not table.exists()
        with table.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)
        if given.every is None:
            return
        time.sleep(60 * given.every)


if __name__ == "__main__":
    main()
