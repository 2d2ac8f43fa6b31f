"""The words of an open turn while it is spoken: what every source of them is, and how eager it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from asr.live.listener import OpenTurn
from asr.sessions import LiveSession


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon words are settled, and how surely."""

    interval_s: float  # between two looks at the turn
    num_hypotheses: int  # that agree on a settled word
    hold_back: int  # of the agreed words, the last ones


# OpenAI's `delay` → the pace; None: no text before the turn ends
PACES: dict[str, Pace | None] = {
    "minimal": Pace(0.5, 1, 0),
    "low": Pace(0.5, 2, 1),
    "medium": Pace(1.0, 2, 1),
    "high": Pace(1.0, 3, 1),
    "xhigh": None,
}
DEFAULT_DELAY = "low"


class PartialSource(LiveSession, Protocol):
    """Finds the words of one turn while it grows; see `window_partials` and `plain_partials`."""

    num_decoded: int
    num_skipped: int  # looks that were due while no batch had room

    @property
    def is_sentence_over(self) -> bool:
        """Whether the text of all speech so far ends a sentence."""
        ...

    @property
    def is_turn_over(self) -> bool:
        """Whether the model's own rules say that the turn has ended."""
        ...

    def feed(self, turn: OpenTurn) -> None:
        """Takes the turn as it is now; it begins where it began."""
        ...

    def end(self) -> None:
        """No audio will follow; the session is done once no window is out."""
        ...

    def take_text(self) -> str:
        """The text settled since the last call, with its leading space. It is never taken back."""
        ...
