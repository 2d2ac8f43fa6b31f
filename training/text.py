"""Sentences over the two vocabularies: what the synthesisers say and the model learns to write."""

from __future__ import annotations

import random
import unicodedata
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "vocabulary"
MONTHS = (
    "january", "february", "april", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
PROPER = {name: name.capitalize() for name in ("emma", "woodhouse", *MONTHS)}
FULL_STOP = {"en": ".", "hi": "।"}
TEMPLATES = {
    "en": (
        "the adjective noun past the noun",
        "the person past the adjective noun adverb",
        "a adjective noun past preposition the place",
        "subject past the noun preposition the noun",
        "the noun was preposition the adjective noun",
        "the person will base the noun tomorrow",
        "can you base the adjective noun please",
        "number unit preposition the place",
        "the person past number adjective unit",
        "this noun is adjective and that noun is adjective",
        "my noun is not adjective",
        "subject past a noun in month",
        "number unit of extra",
        "the noun of the person is adjective",
        "it is adjective to base a noun",
        "do not base the noun for the person",
        "subject adverb past to the place with a noun",
        "the extra is extra and adjective",
        "a noun and a noun are on the noun",
        "please base the noun at the place",
    ),
    "hi": (
        "pronoun noun में verb है",
        "noun बहुत adjective है",
        "pronoun adverb verb था",
        "adjective noun noun पर है",
        "noun ने noun को past",
        "pronoun noun से past",
        "number noun और number noun",
        "यह noun adjective है और वह noun adjective था",
        "pronoun noun adjective नहीं है",
        "क्या pronoun noun verb है",
        "noun का noun भी adjective है",
        "noun adverb past",
        "number adjective noun",
        "आज noun में adjective noun है",
    ),
}
Grammar = dict[str, list[str]]


@cache
def grammar(language: str) -> Grammar:
    """Category → words, with the numbers as category `number`; NFC."""
    text = unicodedata.normalize("NFC", (FOLDER / f"grammar_{language}.txt").read_text("utf-8"))
    categories = {}
    for line in text.splitlines():
        name, words = line.split(":")
        categories[name] = words.split()
    numbers = (FOLDER / f"numbers_{language}.txt").read_text("utf-8")
    categories["number"] = unicodedata.normalize("NFC", numbers).split()
    return categories


@cache
def sentences(language: str) -> tuple[tuple[str, ...], ...]:
    """The fixed training sentences, as words; English has the Harvard sentences, Hindi none."""
    if language != "en":
        return ()
    return tuple(tuple(line.split()) for line in (FOLDER / "sentences_en.txt").read_text().splitlines())


@cache
def vocabulary(language: str) -> tuple[str, ...]:
    """Every word a sentence of this language can hold, sorted."""
    words = {word for category in grammar(language).values() for word in category}
    words |= {word for sentence in sentences(language) for word in sentence}
    words |= {w for t in TEMPLATES[language] for w in t.split() if w not in grammar(language)}
    return tuple(sorted(words))


@cache
def content_words(language: str) -> tuple[str, ...]:
    """The words that are clear without a sentence around them: what random sequences draw from."""
    return tuple(sorted(set(vocabulary(language)) - set(grammar(language)["function"])))


def number_words(rng: random.Random, language: str) -> list[str]:
    """Digits read one by one, or any number words in a row."""
    numbers = grammar(language)["number"]
    source = numbers[:10] if rng.random() < 0.4 else numbers
    return [rng.choice(source) for _ in range(rng.randint(1, 8))]


def template_words(rng: random.Random, language: str) -> list[str]:
    """One template with each category name replaced by a word of it."""
    words = rng.choice(TEMPLATES[language]).split()
    categories = grammar(language)
    return [rng.choice(categories[word]) if word in categories else word for word in words]


def random_words(rng: random.Random, language: str) -> list[str]:
    """Words in any order, 1 to 8 of them, one alone more often; one in six may be a function word."""
    if rng.random() < 0.1:
        return [rng.choice(content_words(language))]
    sources = [content_words(language)] * 5 + [vocabulary(language)]
    return [rng.choice(rng.choice(sources)) for _ in range(rng.randint(2, 8))]


def spliced_words(rng: random.Random, language: str) -> list[str]:
    """The start of one sentence and the end of another, one word in four replaced: none to learn by heart."""
    first, second = rng.choice(sentences(language)), rng.choice(sentences(language))
    words = [*first[: rng.randint(1, len(first) - 1)], *second[rng.randint(1, len(second) - 1) :]]
    return [rng.choice(content_words(language)) if rng.random() < 0.25 else word for word in words]


def utterance(rng: random.Random, language: str) -> list[str]:
    """Words of one utterance, lower case. Fixed sentences are few: a model would learn them by heart."""
    kind = rng.random()
    if kind < 0.42:
        return random_words(rng, language)
    if kind < 0.56:
        return number_words(rng, language)
    if kind < 0.82 and sentences(language):
        return list(rng.choice(sentences(language))) if kind < 0.60 else spliced_words(rng, language)
    return template_words(rng, language)


def written(words: list[str], language: str, is_start: bool = True, is_end: bool = True) -> list[str]:
    """The words as the model writes them: capital at the start, full stop at the end, names kept."""
    shown = [PROPER.get(word, word) for word in words]
    if shown and is_start and language == "en":
        shown[0] = shown[0][0].upper() + shown[0][1:]
    if shown and is_end:
        shown[-1] += FULL_STOP[language]
    return shown
