"""What a search found, and its files: YAML that `backend: auto` reads, and the picture beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from asr.config import EngineConfig
from asr.engines.hardware import Hardware
from asr.engines.tuning import versions
from tune.chart import chart
from tune.measurements import Cell
from tune.recordings import Words

HEAD = "# Written by ./serve.sh --tune, read by engine.backend auto; docs/tuning.md says how to read it.\n"

DEFAULT_BATCH = EngineConfig(model="").max_batch_size


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished search."""

    winner: Cell
    cells: Sequence[Cell]  # all, the winner among them
    exact: Words  # float32 torch's
    hardware: Hardware
    checkpoint: str
    sha256: str
    minutes: float
    load: float  # average of the machine's last minute, when it began
    largest_batch: int  # of those that were searched

    @property
    def ranked(self) -> list[Cell]:
        """The winner, then all that were measured, the fastest first, then those that were not."""
        others = [cell for cell in self.cells if cell is not self.winner]
        return [self.winner, *sorted(others, key=lambda c: -c.speed.median if c.samples else 0.0)]

    @property
    def title(self) -> str:
        held = f", {self.hardware.held_down}" if self.hardware.held_down else ""
        return f"{self.checkpoint} on {self.hardware.name}, {self.hardware.cores} cores{held}"

    @property
    def is_disturbed(self) -> bool:
        return any(cell.is_disturbed for cell in self.cells)

    @property
    def is_doubtful(self) -> bool:
        """Whether the comparison that counts, of the winner and today's settings, was disturbed."""
        return any(cell.is_disturbed for cell in self.cells if cell is self.winner or cell.is_today)

    @property
    def stem(self) -> str:
        """Of the files: processor and checkpoint."""
        name = re.sub(r"\((r|tm)\)", "", self.hardware.name, flags=re.IGNORECASE)
        words = [name, f"{self.hardware.cores}-cores", *self.hardware.held_down.split(), self.checkpoint]
        return re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower()).strip("-")

    def engine(self) -> dict[str, Any]:
        """The winner's settings; all cores are written as 0, a worker's share.

        The largest batch is no limit: samples/ fills no larger one on a CPU, so it says nothing against it.
        """
        found = self.winner.configuration.settings()
        if found["max_batch_size"] == self.largest_batch:
            found["max_batch_size"] = max(self.largest_batch, DEFAULT_BATCH)
        if found["threads"] == self.hardware.cores:
            found["threads"] = 0
        return found

    def as_table(self) -> dict[str, Any]:
        """The YAML file's content."""
        measured: dict[str, Any] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "minutes": round(self.minutes, 1),
            "load_average_before": round(self.load, 2),
            "disturbed": self.is_disturbed,
            "words": self.exact.total,
            "wrong_words_float32": self.exact.wrong,
        }
        return {
            "engine": self.engine(),
            "hardware": self.hardware.as_table(),
            "checkpoint": {"name": self.checkpoint, "sha256": self.sha256},
            "versions": versions(),
            "measured": measured,
            "results": [cell.as_table() for cell in self.ranked],
        }

    def write(self, folder: Path) -> Path:
        """Writes <stem>.yaml and <stem>.svg into `folder`, each in one step; returns the first's path."""
        content = yaml.safe_dump(self.as_table(), sort_keys=False, allow_unicode=True, width=100)
        picture = chart(self.title, self.winner, self.ranked)
        for name, text in ((f"{self.stem}.svg", picture), (f"{self.stem}.yaml", HEAD + content)):
            unfinished = folder / f".{name}.partial"
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(folder / name)
        return folder / f"{self.stem}.yaml"
