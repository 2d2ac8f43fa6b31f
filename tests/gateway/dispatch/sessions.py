"""Small sessions whose windows are known by their samples, for tests that count and compare."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from asr.errors import AsrError
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.sessions import Offer
from gateway.caller import LOCAL, Caller
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.driver import run_session
from tests.gateway.fake_hypotheses import TOKENIZER, fake_text


def make_window(number: int) -> Window:
    """A window unlike that of every other number below 65,536²."""
    samples = np.full(1600, number % 32_768, np.int16)
    samples[0] = number // 32_768
    return Window(samples, num_frames=10, options=DecodingOptions(language="en"))


def number_of(window: Window) -> int:
    return int(window.samples[0]) * 32_768 + int(window.samples[1])


def text_of(hypothesis: Hypothesis) -> str:
    return TOKENIZER.decode([token for token in hypothesis.tokens if token < TOKENIZER.eot])


@dataclass(eq=False)
class Plain:
    """Offers its windows at once, or one after another, and keeps what it is told."""

    numbers: list[int]
    sequential: bool = False
    error: AsrError | None = None
    texts: dict[int, str] = field(default_factory=dict)
    accepted: Counter[int] = field(default_factory=Counter)
    _offered: int = 0

    @property
    def done(self) -> bool:
        return self.error is not None or len(self.texts) == len(self.numbers)

    def offers(self) -> list[Offer]:
        end = min(len(self.texts) + 1, len(self.numbers)) if self.sequential else len(self.numbers)
        offers = [Offer(i, make_window(self.numbers[i])) for i in range(self._offered, end)]
        self._offered = max(self._offered, end)
        return offers

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        self.accepted[offer.key] += 1
        if isinstance(outcome, AsrError):
            self.error = outcome
        else:
            self.texts[offer.key] = text_of(outcome)

    def check(self) -> None:
        """Every window was accepted once, with its own text."""
        assert self.error is None, self.error
        assert self.texts == {i: fake_text(make_window(number)) for i, number in enumerate(self.numbers)}
        assert set(self.accepted.values()) <= {1}


def make_sessions(count: int, windows: int, first: int = 0) -> list[Plain]:
    """Sessions of consecutive numbers, no number twice; every fifth takes its windows one by one."""
    return [
        Plain(list(range(first + i * windows, first + (i + 1) * windows)), sequential=i % 5 == 4)
        for i in range(count)
    ]


async def run(dispatcher: Dispatcher, session: Plain, caller: Caller = LOCAL) -> None:
    with dispatcher.ticket(caller, 1.0) as ticket:
        await run_session(session, ticket)


async def run_all(dispatcher: Dispatcher, sessions: list[Plain]) -> None:
    async with asyncio.timeout(100):
        await asyncio.gather(*(run(dispatcher, session) for session in sessions))
