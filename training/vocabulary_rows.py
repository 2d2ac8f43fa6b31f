"""The token rows that are trained: a compact numbering of Whisper's multilingual vocabulary."""

from __future__ import annotations

from functools import cache

from whisper.tokenizer import Tokenizer, get_tokenizer

from training.text import FULL_STOP, PROPER, vocabulary

LANGUAGES = ("en", "hi")
NUM_TOKENS = 51_865
NUM_TIMESTAMPS = 1501  # 0.00 s to 30.00 s in steps of 20 ms


@cache
def tokenizer() -> Tokenizer:
    """OpenAI's multilingual tokenizer."""
    return get_tokenizer(True, num_languages=99)


@cache
def word_tokens(shown: str) -> tuple[int, ...]:
    """Token ids of a written word with its leading space."""
    return tuple(tokenizer().encode(" " + shown))


def written_forms(word: str, language: str) -> list[str]:
    """Every way in which the transcripts can write a word."""
    name = PROPER.get(word, word)
    stems = {name, name[0].upper() + name[1:]} if language == "en" else {name}
    return sorted(form for stem in stems for form in (stem, stem + FULL_STOP[language]))


@cache
def used_tokens() -> tuple[int, ...]:
    """Sorted ids of every token the demo model can write or is asked with."""
    special = tokenizer().special_tokens
    names = ("endoftext", "startoftranscript", "transcribe", "translate", "startofprev", "nospeech")
    ids = {special[f"<|{name}|>"] for name in (*names, "notimestamps", *LANGUAGES)}
    ids |= {tokenizer().timestamp_begin + step for step in range(NUM_TIMESTAMPS)}
    for language in LANGUAGES:
        for word in vocabulary(language):
            for form in written_forms(word, language):
                ids.update(word_tokens(form))
    return tuple(sorted(ids))


@cache
def compact_ids() -> dict[int, int]:
    """Token id → row of the trained matrix; ids that are missing share row `len(used_tokens())`."""
    return {token: row for row, token in enumerate(used_tokens())}
