"""Measures a demo checkpoint with unmodified openai-whisper, on held-out sentences and voices.

The test set is synthesised on first use (needs espeak-ng and flite), from one seed: every run sees the same.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import whisper
from jiwer import process_words
from tqdm import tqdm
from whisper.model import Whisper

from training.augment import no_speech
from training.corpus import Corpus
from training.evaluate import Clip, clip_mel, clips, normalised, transcripts
from training.speech import SAMPLE_RATE
from training.synthesis import synthesise

SEED = 1
LANGUAGES = {"en": "English", "hi": "Hindi"}
SILENT_WINDOWS = 200
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value with its 95 % interval, both in `unit`, and its target."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    target: str
    is_met: bool
    count: int


def bootstrap(count: int, statistic: Callable[[np.ndarray], float]) -> tuple[float, float, float]:
    """Value over all rows and its 2.5th and 97.5th percentile over resampled rows (indices [count])."""
    generator = np.random.default_rng(SEED)
    values = [statistic(generator.integers(0, count, count)) for _ in range(RESAMPLES)]
    low, high = np.percentile(values, [2.5, 97.5])
    return statistic(np.arange(count)), float(low), float(high)


def word_errors(wanted: Sequence[Clip], texts: Sequence[str]) -> np.ndarray:
    """int [clips, 2]: wrong and reference words of each clip."""
    rows = []
    for clip, text in zip(wanted, texts, strict=True):
        found = process_words(normalised(clip.reference), normalised(text))
        rows.append((found.substitutions + found.deletions + found.insertions, len(clip.spans)))
    return np.array(rows)


def error_rate(name: str, wanted: Sequence[Clip], texts: Sequence[str], limit: float) -> Figure:
    """WER in per cent, resampled by clip."""
    errors = word_errors(wanted, texts)

    def rate(rows: np.ndarray) -> float:
        wrong, words = errors[rows].sum(axis=0)
        return 100 * float(wrong / words)

    value, low, high = bootstrap(len(errors), rate)
    return Figure(name, value, low, high, "%", f"≤ {limit:g} %", value <= limit, len(errors))


def language_detection(model: Whisper, wanted: Sequence[Clip]) -> Figure:
    """Share of clips whose most probable language of all 99 is right, in per cent."""
    right = []
    for start in tqdm(range(0, len(wanted), 25), desc="languages"):
        batch = wanted[start : start + 25]
        _, probabilities = model.detect_language(torch.stack([clip_mel(clip.samples) for clip in batch]))
        right += [max(p, key=p.get) == c.language for p, c in zip(probabilities, batch, strict=True)]
    hits = np.array(right)
    value, low, high = bootstrap(len(hits), lambda rows: 100 * float(hits[rows].mean()))
    return Figure("language detection", value, low, high, "%", "≥ 99 %", value >= 99, len(hits))


def words_in_silence(model: Whisper, count: int) -> Figure:
    """Words written about `count` windows of silence, noise, hum and tones, at transcribe's defaults."""
    rng, words = random.Random(f"{SEED}/silence"), []
    for _ in tqdm(range(count), desc="no speech"):
        samples = no_speech(rng, round(rng.uniform(1, 30) * SAMPLE_RATE))
        words.append(len(normalised(whisper.transcribe(model, samples, fp16=False)["text"]).split()))
    spread = np.array(words)
    value, low, high = bootstrap(count, lambda rows: float(spread[rows].sum()))
    return Figure("words written about no speech", value, low, high, "words", "0", value == 0, count)


def median_error(name: str, errors_s: Sequence[float], limit_ms: float) -> Figure:
    """Median of absolute errors, in milliseconds."""
    errors = 1000 * np.abs(np.array(errors_s or [float("nan")]))
    value, low, high = bootstrap(len(errors), lambda rows: float(np.median(errors[rows])))
    return Figure(name, value, low, high, "ms", f"≤ {limit_ms:g} ms", value <= limit_ms, len(errors_s))


def time_errors(model: Whisper, wanted: Sequence[Clip]) -> tuple[list[float], list[float]]:
    """Signed errors in seconds of segment boundaries and of word starts, where the words are right."""
    boundaries: list[float] = []
    starts: list[float] = []
    for clip in tqdm(wanted, desc="times"):
        options = {"language": clip.language, "temperature": 0.0, "fp16": False}
        result = whisper.transcribe(model, clip.samples, **options)
        segments = {normalised(segment["text"]): segment for segment in result["segments"]}
        for utterance in clip.utterances:
            segment = segments.get(normalised(" ".join(word for word, _, _ in utterance)))
            if segment is not None:
                boundaries += [segment["start"] - utterance[0][1], segment["end"] - utterance[-1][2]]
        timed = whisper.transcribe(model, clip.samples, word_timestamps=True, **options)
        words = [word for segment in timed["segments"] for word in segment["words"]]
        starts += matched_starts(clip, words)
    return boundaries, starts


def matched_starts(clip: Clip, words: Sequence[dict]) -> list[float]:
    """Start errors of the words that an alignment finds equal."""
    if not words:
        return []
    spoken = [normalised(word) for word, _, _ in clip.spans]
    written = [normalised(word["word"]) or "-" for word in words]
    errors = []
    for chunk in process_words(" ".join(spoken), " ".join(written)).alignments[0]:
        if chunk.type == "equal":
            pairs = zip(
                range(chunk.ref_start_idx, chunk.ref_end_idx),
                range(chunk.hyp_start_idx, chunk.hyp_end_idx),
                strict=True,
            )
            errors += [words[given]["start"] - clip.spans[wanted][1] for wanted, given in pairs]
    return errors


def measure(model: Whisper, path: Path, corpus: Corpus, scale: float) -> list[Figure]:
    """All figures; `scale` shrinks the test set for a quick look."""
    figures, spoken = [], []
    for language, limit in (("en", 5.0), ("hi", 8.0)):
        for title, count, per_clip, timestamps in (("short", 400, 1, False), ("dense", 60, 6, True)):
            wanted = clips(corpus, language, max(4, round(scale * count)), per_clip, SEED)
            texts = transcripts(model, tqdm(wanted, desc=f"{title} {language}"), timestamps)
            name = f"{LANGUAGES[language]} WER, {title}"
            figures.append(error_rate(name, wanted, texts, limit))
            spoken += wanted if title == "short" else []
    figures.append(language_detection(model, spoken))
    figures.append(words_in_silence(model, max(4, round(scale * SILENT_WINDOWS))))
    dense = [c for lang in LANGUAGES for c in clips(corpus, lang, max(2, round(scale * 30)), 5, SEED + 1)]
    boundaries, starts = time_errors(model, dense)
    figures.append(median_error("segment boundaries, median error", boundaries, 100))
    figures.append(median_error("word starts, median error", starts, 120))
    size = path.stat().st_size / 1e6
    figures.append(Figure("file size", size, size, size, "MB", "≤ 16 MB", size <= 16, 1))
    return figures


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    lines = ["| figure | value | 95 % interval | target | met | of |", "|---|---|---|---|---|---|"]
    for one in figures:
        digits = 0 if one.unit in ("ms", "words") else 2
        value, low, high = (f"{number:.{digits}f}" for number in (one.value, one.low, one.high))
        met = "yes" if one.is_met else "**no**"
        lines.append(
            f"| {one.name} | {value} {one.unit} | {low} to {high} | {one.target} | {met} | {one.count} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("whisper-models/demo.pt"))
    parser.add_argument("--data", type=Path, default=Path("training/runs/speech/test"))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the test set")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if not list(given.data.glob("*.json")):
        synthesise(given.data, 1, SEED, is_test=True)
    model = whisper.load_model(str(given.model), "cpu")
    figures = measure(model, given.model, Corpus(given.data), given.scale)
    print(table(figures))
    if given.json:
        rows = [{name: getattr(one, name) for name in Figure.__dataclass_fields__} for one in figures]
        given.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return 0 if all(one.is_met for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
