"""Whether a text only repeats the prompt, as Whisper's often does where there is no speech."""

from __future__ import annotations

import unicodedata


def is_echo(text: str, prompt: str) -> bool:
    """Whether all words of `text` stand side by side in `prompt`, itself perhaps repeated.

    Case and punctuation do not count. False for a text without words.
    """
    words, prompted = _words(text), _words(prompt)
    if not words or not prompted:
        return False
    rounds = prompted * (len(words) // len(prompted) + 2)
    return any(rounds[first : first + len(words)] == words for first in range(len(prompted)))


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = (char if unicodedata.category(char)[0] in "LMN" else " " for char in folded)
    return "".join(letters).split()
