"""One stretch of an utterance on its way to segments."""

from __future__ import annotations

from dataclasses import dataclass, field

from asr.audio.stretches import Stretch
from asr.schema import Hypothesis, Segment
from asr.sessions.ladder import Climb


@dataclass(slots=True, eq=False)
class Work:
    """A stretch, its window on the ladder, and its segments."""

    stretch: Stretch
    climb: Climb
    num_reseeks: int = 0
    prompted: bool = True  # whether its window holds the caller's prompt
    is_out: bool = False
    is_done: bool = False
    first: Hypothesis | None = None  # decoded while the language was not known
    segments: list[Segment] = field(default_factory=list)
