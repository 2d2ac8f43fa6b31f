"""How measurements are judged. Nothing here measures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tune.measurements import Cell, Sample
from tune.recordings import Words

MORE_WRONG = 0.002  # of the words: a configuration that gets more wrong than float32 torch is out
ROUNDS = 3  # fewer decide nothing
MARGIN = 1.10  # what is faster by less is not faster
FAR_BEHIND = 1.5  # what is slower by more after one round is measured no more
# somebody else was at work: of the cores' time, and of the cores that the same work kept busy before
OTHERS_SHARE = 0.10
LESS_PARALLEL = 0.8


def words_reason(words: Words, exact: Words) -> str:
    """Why these words keep a configuration out; empty where they do not."""
    more = words.wrong - exact.wrong
    if more <= MORE_WRONG * exact.total:
        return ""
    return f"{more} more of {exact.total} words wrong"


def is_disturbed(sample: Sample, others: Sequence[Sample] = ()) -> bool:
    """Whether processor time and wall time disagree: the cores were not this sample's alone.

    others: of the same configuration.
    """
    usual = max((each.parallelism for each in others), default=0.0)
    return sample.others_share > OTHERS_SHARE or sample.parallelism < LESS_PARALLEL * usual


def is_far_behind(cell: Cell, best: Cell) -> bool:
    return cell.speed.median * FAR_BEHIND < best.speed.median


def is_faster(cell: Cell, other: Cell) -> bool:
    """Whether one is clearly faster: by more than the margin, and its worst round beats the other's best."""
    if min(len(cell.samples), len(other.samples)) < ROUNDS:
        return False
    mine, theirs = cell.speed, other.speed
    return mine.median > MARGIN * theirs.median and mine.low > theirs.high


def winner_of(today: Cell | None, cells: Iterable[Cell]) -> Cell | None:
    """The winner among cells that are not out; None if there is none with enough rounds.

    Today's settings stay unless another is clearly faster. Among those that are, the fastest wins, and of its
    equals the one with the fewest wrong words, then with the least memory.
    """
    ready = [cell for cell in cells if not cell.loses and len(cell.samples) >= ROUNDS]
    if today is not None and today in ready:
        faster = [cell for cell in ready if is_faster(cell, today)]
        if not faster:
            return today
        ready = faster
    if not ready:
        return None
    best = max(ready, key=lambda cell: cell.speed.median)
    equals = [cell for cell in ready if not is_faster(best, cell)]
    return min(equals, key=lambda cell: (cell.words.wrong if cell.words else 0, cell.peak_bytes))


def losing_reason(cell: Cell, winner: Cell) -> str:
    """Why a cell that was measured did not win."""
    ratio = cell.speed.median / winner.speed.median
    if is_faster(winner, cell):
        return f"{ratio:.2f} of the winner's speed"
    if len(cell.samples) < ROUNDS:
        return f"{ratio:.2f} of the winner's speed in {len(cell.samples)} of {ROUNDS} rounds"
    return f"no clear difference ({ratio:.2f} of the winner's speed)"
