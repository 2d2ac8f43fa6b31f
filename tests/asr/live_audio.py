"""The smallest session whose audio is still arriving: every piece it is fed is a window."""

from __future__ import annotations

import asyncio

from asr.errors import AsrError
from asr.schema import Hypothesis, Samples, Window
from asr.sessions import Offer


class LiveAudio:
    """Its audio ends with `end`; it is done once every piece has its hypothesis."""

    def __init__(self) -> None:
        self.error: AsrError | None = None
        self.hypotheses: dict[int, Hypothesis] = {}
        self._pieces: list[Samples] = []
        self._offered = 0
        self._is_ended = False
        self._news: asyncio.Queue[bool] = asyncio.Queue()

    def feed(self, samples: Samples) -> None:
        self._pieces.append(samples)
        self._news.put_nowait(True)

    def end(self) -> None:
        self._is_ended = True
        self._news.put_nowait(False)

    async def fed(self) -> bool:
        return await self._news.get()

    @property
    def done(self) -> bool:
        return self.error is not None or (self._is_ended and len(self.hypotheses) == len(self._pieces))

    def offers(self) -> list[Offer]:
        first, self._offered = self._offered, len(self._pieces)
        return [
            Offer(key, Window(samples, num_frames=max(1, len(samples) // 160)))
            for key, samples in enumerate(self._pieces[first:], first)
        ]

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        if isinstance(outcome, AsrError):
            self.error = outcome
        else:
            self.hypotheses[offer.key] = outcome
