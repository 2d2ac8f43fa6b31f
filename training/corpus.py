"""Random access to the synthesised shards."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.speech import SAMPLE_RATE
from training.voices import NEAR_VARIANTS

FLITE_DRAWS = 0.45


@dataclass(frozen=True, slots=True)
class Utterance:
    """One synthesised sentence: `samples` float32 [n] at 16 kHz, `words` are (word, start_s, end_s)."""

    samples: np.ndarray
    language: str
    voice: str
    words: tuple[tuple[str, float, float], ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


class Corpus:
    """The complete shards of a folder; `refresh` picks up those that were finished since.

    Of the training draws, FLITE_DRAWS of the English ones are flite, and `far_share` of the
    espeak-ng ones are variants outside NEAR_VARIANTS; by default every utterance is as likely.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.far_share: float | None = None
        self.groups: dict[tuple[str, str], list[tuple[str, dict]]] = {}
        self.shards: dict[str, np.ndarray] = {}
        self.rows: dict[str, list[tuple[str, dict]]] = {"en": [], "hi": []}
        self.refresh()

    def refresh(self) -> None:
        for table in sorted(self.folder.glob("*.json")):
            if table.stem in self.shards:
                continue
            self.shards[table.stem] = np.memmap(table.with_suffix(".pcm"), dtype=np.int16, mode="r")
            for row in json.loads(table.read_text("utf-8")):
                self.rows[row["language"]].append((table.stem, row))
                group = (row["language"], voice_group(row["voice"]))
                self.groups.setdefault(group, []).append((table.stem, row))

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    def load(self, shard: str, row: dict) -> Utterance:
        """The utterance of one table row."""
        pcm = self.shards[shard][row["offset"] : row["offset"] + row["samples"]]
        words = tuple((word, start, end) for word, start, end in row["words"])
        return Utterance(pcm.astype(np.float32) / 32768, row["language"], row["voice"], words)

    def draw(self, rng: random.Random, language: str) -> Utterance:
        """A random utterance of the language."""
        rows = self.rows[language]
        if self.far_share is not None:
            is_flite = language == "en" and rng.random() < FLITE_DRAWS
            group = "flite" if is_flite else "far" if rng.random() < self.far_share else "near"
            rows = self.groups.get((language, group), rows)
        return self.load(*rng.choice(rows))


def voice_group(voice: str) -> str:
    """`flite`, `near` or `far`, of a table's voice such as `espeak-ng:en-us+m3/opus`."""
    engine, _, name = voice.partition("/")[0].partition(":")
    if engine == "flite":
        return "flite"
    return "near" if name.partition("+")[2] in NEAR_VARIANTS else "far"
