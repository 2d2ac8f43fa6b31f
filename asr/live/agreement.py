"""Words that several hypotheses of one turn agree on: settled, and never taken back.

LocalAgreement-n (Liu et al. 2020; Macháček et al. 2023): a word is settled once the n latest hypotheses, each
over more audio than the one before, have it in common with all words before it. Each hypothesis begins with
the words that were settled when it was asked for: none contradicts them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Sequence

WORDS_PER_UNLIKE = 4  # of a beginning, for each word that may be another one
MARKS = ".,!?;:…。，！？；：、।"


class Agreement:
    """The settled words of one window of a turn."""

    def __init__(self, num_hypotheses: int, hold_back: int) -> None:
        """hold_back: the last agreed words, which more audio may still change."""
        self._num_hypotheses = num_hypotheses
        self._hold_back = hold_back
        self._settled: list[str] = []  # folded
        self._before: deque[list[str]] = deque(maxlen=num_hypotheses)  # folded, the latest last
        self.text = ""  # of the settled words

    @property
    def num_settled(self) -> int:
        return len(self._settled)

    def hear(self, words: Sequence[str], *, is_whole: bool = False, is_sure: bool = False) -> str:
        """The newly settled text, as this hypothesis spells it.

        words: those behind the settled ones. is_whole: this hypothesis has heard the speech to its end, so
        that nothing is held back. is_sure: silence has followed, which counts as one hypothesis more.
        """
        folded = [*self._settled, *map(fold, words)]
        self._before.append(folded)
        needed = self._num_hypotheses - is_sure
        others = list(self._before)[-needed:-1] if needed > 1 else []
        if len(others) < needed - 1:
            return ""
        num_agreed = min((_common(folded, other) for other in others), default=len(folded))
        until = num_agreed if is_whole else num_agreed - self._hold_back
        # Whisper ends whatever it hears with a full stop
        return self._settle(words, folded, until, is_end_open=until == len(folded))

    def settle(self, words: Sequence[str]) -> str:
        """The text behind the settled one, of a hypothesis that no other one will follow."""
        folded = [*self._settled, *map(fold, words)]
        return self._settle(words, folded, len(folded), is_end_open=False)

    def _settle(self, words: Sequence[str], folded: list[str], until: int, *, is_end_open: bool) -> str:
        first = len(self._settled)
        if until <= first:
            return ""
        text = "".join(words[: until - first])
        text = text.rstrip(MARKS) if is_end_open else text
        self._settled = folded[:until]
        self.text += text
        return text


def fold(word: str) -> str:
    """The word without case and punctuation, which change as a sentence goes on."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(char for char in folded if unicodedata.category(char)[0] in "LMN")


def rest_of(text: str, begun: str) -> str:
    """What follows in the text behind a beginning that differs in few words at most; else ""."""
    if text.startswith(begun):
        return text[len(begun) :]
    words = re.findall(r"\s*\S+", text)
    shown = [fold(word) for word in begun.split()]
    num_unlike, place = _place_behind(shown, [fold(word) for word in words])
    return "".join(words[place:]) if num_unlike <= max(1, len(shown) // WORDS_PER_UNLIKE) else ""


def _place_behind(shown: Sequence[str], words: Sequence[str]) -> tuple[int, int]:
    """How unlike the shown words are to a beginning of the others, at the least; and how long that is.

    The first number is the edit distance. Among equals a beginning with the same last word comes first, then
    one that is as long as what is shown.
    """
    distances = list(range(len(words) + 1))  # of the shown words so far to each beginning
    for number, word in enumerate(shown, 1):
        before, distances = distances, [number]
        for length, other in enumerate(words, 1):
            unlike = before[length - 1] + (word != other)
            distances.append(min(unlike, before[length] + 1, distances[-1] + 1))
    last = shown[-1:]
    return min(
        (distances[n], words[n - 1 : n] != last, abs(n - len(shown)), n) for n in range(len(words) + 1)
    )[::3]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
