"""Words that several hypotheses of one turn agree on: settled, and never taken back.

LocalAgreement-n (Liu et al. 2020; Macháček et al. 2023): a word is settled once the n latest hypotheses, each
over more audio than the one before, have it in common with all words before it.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Sequence

MARKS = ".,!?;:…。，！？；：、।"


class Agreement:
    """The settled words of one window of a turn."""

    def __init__(self, num_hypotheses: int, hold_back: int) -> None:
        """hold_back: the last agreed words, which more audio may still change."""
        self._num_hypotheses = num_hypotheses
        self._hold_back = hold_back
        self._settled: list[str] = []  # folded
        self._before: deque[list[str]] = deque(maxlen=num_hypotheses - 1)  # folded, the latest last

    def hear(self, words: Sequence[str], *, is_whole: bool = False) -> list[str]:
        """The newly settled words, as this hypothesis spells them; none if it contradicts a settled one.

        is_whole: this hypothesis has heard the speech to its end, so that nothing is held back.
        """
        folded = [fold(word) for word in words]
        others = list(self._before)
        self._before.append(folded)
        if len(others) < self._num_hypotheses - 1:
            return []
        num_agreed = min((_common(folded, other) for other in others), default=len(folded))
        settled = self._settle(words, folded, num_agreed if is_whole else num_agreed - self._hold_back)
        if settled and len(self._settled) == len(words):  # Whisper ends whatever it hears with a full stop
            settled[-1] = settled[-1].rstrip(MARKS)
        return settled

    def settle(self, words: Sequence[str]) -> list[str]:
        """The words that are not settled yet, of a hypothesis that no other one will follow."""
        return self._settle(words, [fold(word) for word in words], len(words))

    def _settle(self, words: Sequence[str], folded: list[str], until: int) -> list[str]:
        first = len(self._settled)
        if until <= first or folded[:first] != self._settled:
            return []
        self._settled = folded[:until]
        return list(words[first:until])


def fold(word: str) -> str:
    """The word without case and punctuation, which change as a sentence goes on."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(char for char in folded if unicodedata.category(char)[0] in "LMN")


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
