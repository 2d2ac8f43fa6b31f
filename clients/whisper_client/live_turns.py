"""A stream's events → its turns: their words as they settle, their transcripts, their times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]

SPEECH = "input_audio_buffer.speech_"
COMMITTED = "input_audio_buffer.committed"
TRANSCRIPTION = "conversation.item.input_audio_transcription."


@dataclass(slots=True)
class Turn:
    """What was said between two silences. Milliseconds count from the beginning of the sound."""

    item_id: str
    start_ms: float
    end_ms: float | None = None  # None: it is still open
    settled: str = ""  # its deltas
    transcript: str | None = None  # None: not answered yet
    failure: str | None = None  # the server's words
    first_word_at: float | None = None  # by the clock of its `Turns`
    done_at: float | None = None

    @property
    def is_done(self) -> bool:
        return self.done_at is not None

    @property
    def text(self) -> str:
        """The transcript, before it comes the settled words."""
        return self.settled if self.transcript is None else self.transcript


class Turns:
    """The turns in the order in which they began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.all: list[Turn] = []
        self._clock = clock

    def take(self, event: Event, began_ms: float, sent_ms: float) -> None:
        """Applies an event; others than those of turns mean nothing here.

        began_ms: where the event's connection began, sent_ms: how far sound has been sent.
        """
        kind = event["type"]
        if kind == SPEECH + "started":
            self._turn(event).start_ms = began_ms + event["audio_start_ms"]
        elif kind == SPEECH + "stopped":
            self._turn(event).end_ms = began_ms + event["audio_end_ms"]
        elif kind == COMMITTED:
            turn = self._turn(event)
            turn.end_ms = sent_ms if turn.end_ms is None else turn.end_ms
        elif kind.startswith(TRANSCRIPTION):
            self._answer(self._turn(event), kind.removeprefix(TRANSCRIPTION), event)

    def drop_unanswered(self) -> None:
        """Forgets the turns of a connection that broke: their sound is sent again."""
        self.all = [turn for turn in self.all if turn.is_done]

    @property
    def answered_ms(self) -> float:
        """Up to where everything that was said is answered."""
        waiting = [turn.start_ms for turn in self.all if not turn.is_done]
        return min(waiting, default=self._last_end_ms)

    @property
    def has_unanswered(self) -> bool:
        return any(not turn.is_done for turn in reversed(self.all))

    @property
    def _last_end_ms(self) -> float:
        return max((turn.end_ms or 0.0 for turn in self.all[-2:]), default=0.0)

    def _turn(self, event: Event) -> Turn:
        item_id = event["item_id"]
        for turn in reversed(self.all):
            if turn.item_id == item_id:
                return turn
        turn = Turn(item_id, start_ms=self._last_end_ms)
        self.all.append(turn)
        return turn

    def _answer(self, turn: Turn, what: str, event: Event) -> None:
        if what == "delta":
            turn.settled += event["delta"]
            turn.first_word_at = turn.first_word_at or self._clock()
        elif what == "completed":
            turn.transcript = event["transcript"].strip()
            turn.done_at = self._clock()
        elif what == "failed":
            turn.failure = str(event["error"].get("message"))
            turn.done_at = self._clock()
