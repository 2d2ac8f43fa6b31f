"""Word and character error rates of a text against its reference, as it is and normalised."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

from whisper_client.errors import BadArgument

APOSTROPHES = dict.fromkeys(map(ord, "'’ʼ"))
JOINERS = dict.fromkeys((0x200C, 0x200D))  # zero-width: they change the look of a conjunct, not the word
UNSPACED = frozenset(("zh", "yue", "ja", "th", "lo", "my"))  # languages whose words no blank parts
Normaliser = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Errors:
    """Alignment counts against `reference` units (words or characters)."""

    reference: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def wrong(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """(S + D + I) / N; insertions into an empty reference count as 1 each."""
        return self.wrong / max(self.reference, 1)


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one text, or the sum over texts, by one normaliser."""

    words: Errors = Errors()
    characters: Errors = Errors()

    def __add__(self, other: Score) -> Score:
        return Score(self.words + other.words, self.characters + other.characters)


@dataclass(frozen=True, slots=True)
class Scored:
    """One utterance: both texts, its two scores, and the word pairs (reference, hypothesis) that differ."""

    name: str
    reference: str
    hypothesis: str
    raw: Score
    normalised: Score
    substitutions: tuple[tuple[str, str], ...]


def raw(text: str) -> str:
    """The text with runs of blanks made one blank; nothing else is forgiven."""
    return " ".join(text.split())


def normalised(text: str) -> str:
    """NFC, lower case, digits in ASCII, without punctuation and symbols (danda too); combining marks stay.

    Indic vowels are combining marks: Whisper's own normalisers drop them and so hide vowel errors.
    """
    folded = unicodedata.normalize("NFC", text).lower().translate(APOSTROPHES | JOINERS)
    return " ".join("".join(map(_normalised_character, folded)).split())


def by_characters(text: str) -> str:
    """As `normalised`, with a blank between any two characters: every character is scored as a word."""
    return " ".join(clusters(normalised(text).replace(" ", "")))


def normaliser_for(language: str) -> Normaliser:
    """What texts in that language (an ISO code) are put through before they are compared."""
    return by_characters if language in UNSPACED else normalised


def _normalised_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    return " " if category[0] in "PS" else character


def clusters(text: str) -> list[str]:
    """The characters as readers count them: each with the combining marks behind it."""
    found: list[str] = []
    for character in text:
        if found and unicodedata.category(character)[0] == "M":
            found[-1] += character
        else:
            found.append(character)
    return found


def score(reference: str, hypothesis: str, normaliser: Normaliser) -> Score:
    """Errors in words and in character clusters after `normaliser` on both sides."""
    wanted, given = normaliser(reference), normaliser(hypothesis)
    words = _errors(wanted.split(), given.split())
    if normaliser is by_characters:  # its blanks are not the writer's
        return Score(words, words)
    return Score(words, _errors(clusters(wanted), clusters(given)))


def scored(name: str, reference: str, hypothesis: str, normaliser: Normaliser = normalised) -> Scored:
    """Both scores of one utterance: as it is, and by `normaliser`."""
    pairs = substitutions(normaliser(reference).split(), normaliser(hypothesis).split())
    as_it_is, fair = (score(reference, hypothesis, one) for one in (raw, normaliser))
    return Scored(name, reference, hypothesis, as_it_is, fair, pairs)


def substitutions(reference: list[str], hypothesis: list[str]) -> tuple[tuple[str, str], ...]:
    """Aligned word pairs that differ."""
    if not reference or not hypothesis:
        return ()
    chunks = _aligned(reference, hypothesis).alignments[0]
    pairs: list[tuple[str, str]] = []
    for chunk in chunks:
        if chunk.type == "substitute":
            wanted = reference[chunk.ref_start_idx : chunk.ref_end_idx]
            pairs += zip(wanted, hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx], strict=True)
    return tuple(pairs)


def _errors(reference: list[str], hypothesis: list[str]) -> Errors:
    if not reference or not hypothesis:
        return Errors(len(reference), 0, len(reference), len(hypothesis))
    found = _aligned(reference, hypothesis)
    return Errors(len(reference), found.substitutions, found.deletions, found.insertions)


def _aligned(reference: list[str], hypothesis: list[str]) -> Any:
    """jiwer's alignment of two lists of units; each unit is passed as one word."""
    try:
        from jiwer import process_words
    except ImportError as error:
        raise BadArgument("scoring needs jiwer: pip install jiwer") from error
    units = {unit: chr(0xF0000 + row) for row, unit in enumerate(dict.fromkeys(reference + hypothesis))}
    wanted, given = (" ".join(units[unit] for unit in side) for side in (reference, hypothesis))
    return process_words(wanted, given)
