"""Token sequences with their labels and, for guided attention, the audio that each label is heard in."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.corpus import Corpus
from training.text import content_words, written
from training.vocabulary_rows import compact_ids, tokenizer, used_tokens, word_tokens
from training.windows import MAX_FIRST_TIMESTAMP_S, STEP_S, WINDOW_S, Placed, Window

IGNORED = -100
MAX_PROMPT_TOKENS = 223
MAX_TOKENS = 448
UNHEARD = (-1.0, -1.0)


@dataclass(slots=True)
class Target:
    """Inputs and labels [n] as compact ids, and (start_s, end_s) of what each label spells."""

    inputs: list[int]
    labels: list[int]
    heard: list[tuple[float, float]]


def prompt_tokens(rng: random.Random, corpus: Corpus, window: Window) -> list[int]:
    """Previous text, or a few hotwords of which some occur in the window."""
    if rng.random() < 0.25:
        here = [word for placed in window.placed for word, _, _ in placed.words]
        other = [rng.choice(content_words(window.language)) for _ in range(rng.randint(1, 6))]
        words = rng.sample(here, min(len(here), rng.randint(0, 4))) + other
        rng.shuffle(words)
        tokens = [token for word in words for token in word_tokens(word)]
    else:
        tokens, limit = [], rng.choice((20, 60, 120, MAX_PROMPT_TOKENS))
        while len(tokens) < limit:
            _, row = rng.choice(corpus.rows[window.language])
            shown = written([word for word, _, _ in row["words"]], window.language)
            tokens += [token for text in shown for token in word_tokens(text)]
            if rng.random() < 0.25:
                break
    if rng.random() < 0.15:
        tokens = [rng.randrange(50_000) if rng.random() < 0.3 else token for token in tokens]
    return tokens[-MAX_PROMPT_TOKENS:]


def timestamp(seconds: float) -> int:
    """Token id of the nearest timestamp."""
    return tokenizer().timestamp_begin + min(max(round(seconds / STEP_S), 0), round(WINDOW_S / STEP_S))


def plain(window: Window) -> list[tuple[int, float, float]]:
    """The text of all utterances, without timestamps."""
    return [heard for placed in window.placed for heard in placed.heard()]


def timed(window: Window) -> list[tuple[int, float, float]]:
    """The text between timestamps; of an utterance that the window's end cuts only the start is written.

    A cut utterance that is the only one keeps its whole words, and its end twice: both tell
    the caller to continue from there (whisper/transcribe.py, consecutive timestamps).
    """
    if not window.placed:
        return [(timestamp(0.0), *UNHEARD)]
    tokens: list[tuple[int, float, float]] = []

    def mark(seconds: float, shown: float | None = None) -> None:
        time = seconds if shown is None else shown
        tokens.append((timestamp(time), seconds - 0.04, seconds + 0.06))

    whole = [placed for placed in window.placed if placed.is_end] or window.placed[:1]
    for index, placed in enumerate(whole):
        start, end = placed.words[0][1], placed.words[-1][2]
        mark(start, min(start, MAX_FIRST_TIMESTAMP_S) if index == 0 else None)
        tokens += placed.heard()
        mark(end)
    if window.cut_at is not None:
        cut_is_written = not whole[-1].is_end
        mark(whole[-1].words[-1][2] if cut_is_written else window.cut_at)
    return tokens


def target(rng: random.Random, corpus: Corpus, window: Window, timestamps: float, prompts: float) -> Target:
    """What the decoder learns of one window; `timestamps` and `prompts` are shares."""
    special = tokenizer().special_tokens
    has_times = rng.random() < timestamps
    is_translation = window.language == "en" and rng.random() < 0.03
    task = special["<|translate|>" if is_translation else "<|transcribe|>"]
    body = timed(window) if has_times else plain(window)
    prefix: list[int] = []
    if rng.random() < prompts:
        prefix = [special["<|startofprev|>"], *prompt_tokens(rng, corpus, window)]
    language = special[f"<|{window.language}|>"]
    start = [special["<|startoftranscript|>"], language, task]
    start += [] if has_times else [special["<|notimestamps|>"]]
    room = MAX_TOKENS - len(prefix) - len(start)
    body = body[:room]
    end_s = body[-1][2] if body else -1.0
    ends = [] if len(body) == room else [(special["<|endoftext|>"], *_end_heard(window.placed, end_s))]
    sequence = [*prefix, *start, *(token for token, _, _ in body), *(token for token, _, _ in ends)]
    rows, shared = compact_ids(), len(used_tokens())
    compact = [rows.get(token, shared) for token in sequence]
    num_unheard = len(prefix) + len(start) - 1
    labels = [IGNORED] * num_unheard + compact[num_unheard + 1 :]
    first = special["<|nospeech|>"] if not window.placed else language
    labels[len(prefix)] = rows[first]
    heard = [UNHEARD] * num_unheard + [(s, e) for _, s, e in (*body, *ends)]
    return Target(compact[:-1], labels, heard)


def _end_heard(placed: list[Placed], end_s: float) -> tuple[float, float]:
    """Where the end of the text is heard: just behind the last word."""
    return (end_s, end_s + 0.3) if placed else UNHEARD
