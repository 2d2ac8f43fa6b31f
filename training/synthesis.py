"""Synthesised speech on disk: shards of int16 PCM with word times, made by parallel processes."""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.codec import coded
from training.speech import SAMPLE_RATE, SynthesisError
from training.text import utterance
from training.voices import draw_voice

SHARD_UTTERANCES = 800
HINDI_SHARE = 0.27
MAX_SECONDS = 12.0
CODED_EVERY = 5  # one shard in this many went through mp3 or opus


def is_reserved(words: list[str]) -> bool:
    """Whether a sentence of three words or more belongs to the test set (one in twenty)."""
    if len(words) < 3:
        return False
    digest = hashlib.sha256(" ".join(words).encode()).digest()
    return digest[0] < 13


def draw_words(rng: random.Random, language: str, is_test: bool) -> list[str]:
    """Words of an utterance on the right side of the split."""
    while True:
        words = utterance(rng, language)
        if is_reserved(words) == is_test:
            return words


def make_shard(folder: Path, index: int, seed: int, is_test: bool) -> float:
    """Writes shard `index` unless it is there; returns its seconds of audio."""
    table = folder / f"{index:04d}.json"
    if table.exists():
        return sum(row["samples"] for row in json.loads(table.read_text("utf-8"))) / SAMPLE_RATE
    rng = random.Random(f"{seed}/{index}/{is_test}")
    rows, pieces, offset = [], [], 0
    while len(rows) < SHARD_UTTERANCES:
        language = "hi" if rng.random() < HINDI_SHARE else "en"
        words, voice = draw_words(rng, language, is_test), draw_voice(rng, language, is_test)
        try:
            speech = voice.speak(words)
        except SynthesisError:
            continue
        if len(speech.samples) > MAX_SECONDS * SAMPLE_RATE:
            continue
        samples, name = speech.samples * (0.5 / np.abs(speech.samples).max()), str(voice)
        if index % CODED_EVERY == CODED_EVERY - 1:
            samples, codec = coded(rng, samples)
            name += f"/{codec}"
        pcm = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        spans = [(word, round(start, 3), round(end, 3)) for word, start, end in speech.words]
        rows.append(
            {"language": language, "voice": name, "offset": offset, "samples": len(pcm), "words": spans}
        )
        pieces.append(pcm)
        offset += len(pcm)
    pcm_path = folder / f"{index:04d}.pcm"
    np.concatenate(pieces).tofile(pcm_path)
    partial = table.with_suffix(".partial")
    partial.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    os.replace(partial, table)
    return offset / SAMPLE_RATE


def _make_shard(task: tuple[Path, int, int, bool]) -> float:
    return make_shard(*task)


def synthesise(folder: Path, num_shards: int, seed: int, is_test: bool, processes: int = 2) -> float:
    """Hours of audio in `folder` once its `num_shards` shards are complete; finished shards are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(folder, index, seed, is_test) for index in range(num_shards)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        done = pool.imap_unordered(_make_shard, tasks)
        seconds = sum(tqdm(done, total=num_shards, desc=f"synthesis {folder.name}", unit="shard"))
    return seconds / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, required=True, help="of 800 utterances, 0.36 hours, each")
    parser.add_argument("--test", action="store_true", help="the voices and sentences kept from training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    hours = synthesise(given.folder, given.shards, given.seed, given.test, given.processes)
    print(f"{hours:.1f} hours of speech in {given.folder}")


if __name__ == "__main__":
    main()
