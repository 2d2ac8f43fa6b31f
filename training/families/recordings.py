"""Held-out sentences as recordings with their texts, as Kaldi lays them out: a folder for each language."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from training.corpus import Corpus
from training.evaluate import Clip, clips
from training.families.evaluation import LANGUAGES, SEED
from training.speech import SAMPLE_RATE
from training.synthesis import synthesise


def write_recordings(folder: Path, wanted: Sequence[Clip], language: str) -> None:
    """A WAV file of each clip, `wav.scp`, `text`, `utt2lang` and `utt2dur`."""
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2lang": [], "utt2dur": []}
    for number, clip in enumerate(wanted):
        name = f"{language}-{number:03}"
        soundfile.write(folder / f"{name}.wav", np.clip(clip.samples, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        seconds = f"{len(clip.samples) / SAMPLE_RATE:.2f}"
        values = (f"{name}.wav", clip.reference, language, seconds)
        for table, value in zip(tables.values(), values, strict=True):
            table.append(f"{name} {value}\n")
    for table_name, lines in tables.items():
        (folder / table_name).write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="gets en/ and hi/")
    parser.add_argument("--data", type=Path, default=Path("training/runs/speech/test"))
    parser.add_argument("--count", type=int, default=40, help="recordings of each language")
    parser.add_argument("--sentences", type=int, default=1, help="of each recording, with pauses between")
    given = parser.parse_args()
    if not list(given.data.glob("*.json")):
        synthesise(given.data, 1, SEED, is_test=True)
    corpus = Corpus(given.data)
    for language in LANGUAGES:
        wanted = clips(corpus, language, given.count, given.sentences, SEED)
        write_recordings(given.folder / language, wanted, language)


if __name__ == "__main__":
    main()
