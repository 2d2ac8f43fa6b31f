"""The sums of a run: how many rows, good and bad, and how much audio; they add up to the manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from bulk_rows.entries import Listing
from bulk_rows.rows import Row


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the sums need of a row."""

    error_code: str | None
    audio_s: float


def outcome_of(row: Row) -> Outcome:
    return Outcome(row.error_code, row.duration or 0.0)


@dataclass(frozen=True, slots=True)
class Totals:
    """lines = doubled + good + the errors + missing."""

    lines: int  # of the manifest, files of the folder
    doubled: int  # lines that repeat another
    good: int
    errors: dict[str, int]  # by their code
    missing: int  # not done yet
    audio_s: float
    before: int  # rows of earlier runs among good and errors
    wall_s: float  # of this run

    @property
    def exit_code(self) -> int:
        return 1 if self.errors or self.missing else 0

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def text(self) -> str:
        codes = ", ".join(f"{count} {code}" for code, count in self.errors.items())
        parts = [
            f"{self.lines} lines = {self.good} good",
            f"{sum(self.errors.values())} errors" + (f" ({codes})" if codes else ""),
            f"{self.doubled} doubled",
            f"{self.missing} missing",
        ]
        done = self.good + sum(self.errors.values()) - self.before
        rate = f"{done / self.wall_s:.1f} rows/s" if self.wall_s > 0 else ""
        return (
            f"{' + '.join(parts)}\n"
            f"{done} rows in {self.wall_s:.1f} s, {rate}; {self.before} from before; "
            f"{self.audio_s / 3600:.2f} hours of audio in all"
        )


def add_up(listing: Listing, outcomes: dict[str, Outcome], before: Collection[str], wall_s: float) -> Totals:
    """The totals of the listing's entries; rows of other entries, from another manifest, do not count."""
    found = [outcomes[entry.id] for entry in listing.entries if entry.id in outcomes]
    errors = Counter(each.error_code for each in found if each.error_code is not None)
    return Totals(
        lines=len(listing.entries) + listing.doubled,
        doubled=listing.doubled,
        good=len(found) - errors.total(),
        errors=dict(errors.most_common()),
        missing=len(listing.entries) - len(found),
        audio_s=sum(each.audio_s for each in found),
        before=sum(entry.id in before for entry in listing.entries),
        wall_s=wall_s,
    )


def summary_json(totals: Totals) -> str:
    return json.dumps(totals.document(), indent=1) + "\n"
