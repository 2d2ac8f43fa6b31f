"""The simplest session: one window, as the gateway sends it to a worker."""

from __future__ import annotations

from asr.errors import AsrError
from asr.schema import Hypothesis, Window
from asr.sessions.base import Offer


class WindowSession:
    """Decodes one window once; the sender applies guards and fallbacks."""

    def __init__(self, window: Window) -> None:
        self.hypothesis: Hypothesis | None = None
        self.error: AsrError | None = None
        self._window: Window | None = window

    @property
    def done(self) -> bool:
        return self.hypothesis is not None or self.error is not None

    def offers(self) -> list[Offer]:
        window, self._window = self._window, None
        return [] if window is None else [Offer(0, window)]

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        if isinstance(outcome, AsrError):
            self.error = outcome
        else:
            self.hypothesis = outcome
