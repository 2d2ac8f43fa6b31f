"""Results on disk: JSON in benchmarks/results, tables between the markers of a document."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Spread:
    """Repetitions of one measurement."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1], len(found))

    def text(self, digits: int = 2, scale: float = 1.0) -> str:
        """Median and, in brackets, lowest to highest."""
        median, low, high = (f"{scale * value:.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{median} ({low}–{high})"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    rule = ["---", *["---:"] * (len(headers) - 1)]
    lines = [headers, rule, *[[str(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def load(name: str) -> dict[str, Any]:
    """What `save` has written under this name; empty if nothing."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def save(name: str, data: dict[str, Any]) -> Path:
    """Writes benchmarks/results/NAME.json and returns its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def publish(section: str, text: str, document: Path) -> None:
    """Put `text` between the section's markers, in place, or at the end if the document has no markers."""
    begin, end = f"<!-- {section}: begin, written by benchmarks/ -->", f"<!-- {section}: end -->"
    old = document.read_text(encoding="utf-8") if document.exists() else ""
    block = f"{begin}\n\n{text.strip()}\n\n{end}"
    if begin in old and end in old:
        head, rest = old.split(begin, 1)
        new = head + block + rest.split(end, 1)[1]
    else:
        new = f"{old.rstrip()}\n\n{block}\n".lstrip()
    document.parent.mkdir(exist_ok=True)
    document.write_text(new, encoding="utf-8")


def hand_over(
    name: str, data: dict[str, Any], text: str, *, keep: bool, document: Path | None = None
) -> None:
    """Print `text`; if it is to be kept, write NAME.json, and `text` between NAME's markers in `document`."""
    print(text)
    if keep:
        save(name, data)
    if keep and document:
        publish(name, text, document)
