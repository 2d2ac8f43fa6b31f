"""Training windows: placed utterances, the tokens to write about them, and where each token is heard."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from training.augment import channel, no_speech
from training.corpus import Corpus, Utterance
from training.speech import SAMPLE_RATE
from training.text import written
from training.vocabulary_rows import LANGUAGES, tokenizer, word_tokens

WINDOW_S = 30.0
HINDI_SHARE = 0.28
STEP_S = 0.02  # one timestamp, one encoder position
MAX_FIRST_TIMESTAMP_S = 1.0  # upstream's max_initial_timestamp
STOP_S = 0.15  # a full stop is heard in the pause behind its word
Heard = tuple[int, float, float]  # token id, start_s, end_s


@dataclass(slots=True)
class Placed:
    """The words of one utterance that are whole inside the window, in window time."""

    words: list[tuple[str, float, float]]
    language: str
    is_start: bool = True
    is_end: bool = True

    def heard(self) -> list[Heard]:
        """Text tokens with the part of the audio that each spells."""
        shown = written([word for word, _, _ in self.words], self.language, self.is_start, self.is_end)
        heard: list[Heard] = []
        for text, (word, start, end) in zip(shown, self.words, strict=True):
            size, position = len(word.encode()), -1
            for token in word_tokens(text):
                length = len(tokenizer().encoding.decode_single_token_bytes(token))
                left, right = max(position, 0), position + length
                begin = start + (end - start) * min(left, size) / size
                finish = start + (end - start) * min(right, size) / size
                heard.append((token, begin, finish) if left < size else (token, end, end + STOP_S))
                position = right
        return heard


@dataclass(slots=True)
class Window:
    """One model input. `samples` float32 [seconds · 16000]; beyond `content_s` there is padding."""

    samples: np.ndarray
    content_s: float
    language: str
    placed: list[Placed] = field(default_factory=list)
    cut_at: float | None = None  # where an utterance starts that the window's end cuts


def draw_language(rng: random.Random) -> str:
    return "hi" if rng.random() < HINDI_SHARE else "en"


def silent_window(rng: random.Random, seconds: float) -> Window:
    """A window without speech; the language asked for is random."""
    total = round(seconds * SAMPLE_RATE)
    content = total if rng.random() < 0.6 else round(rng.uniform(0.1, 1) * total)
    samples = np.zeros(total, np.float32)
    samples[:content] = no_speech(rng, content)
    return Window(samples, content / SAMPLE_RATE, rng.choice(LANGUAGES))


def gap(rng: random.Random) -> float:
    """Seconds between two utterances: mostly under a second, sometimes several."""
    return rng.uniform(0.25, 1.1) if rng.random() < 0.8 else rng.uniform(1.0, 5.0)


def lead(rng: random.Random, seconds: float) -> float:
    """Seconds before the first utterance."""
    kind = rng.random()
    if kind < 0.4:
        return rng.uniform(0, 0.3)
    return rng.uniform(0, 1.2) if kind < 0.85 else rng.uniform(0, 0.5 * seconds)


def add(window: Window, utterance: Utterance, start_s: float, gain: float) -> Placed:
    """Mixes the utterance in at `start_s` (negative: begins before the window); its whole words."""
    start = round(start_s * SAMPLE_RATE)
    left, right = max(0, start), min(len(window.samples), start + len(utterance.samples))
    window.samples[left:right] += gain * utterance.samples[left - start : right - start]
    limit = len(window.samples) / SAMPLE_RATE
    words = [(word, begin + start_s, end + start_s) for word, begin, end in utterance.words]
    whole = [span for span in words if span[1] >= -0.01 and span[2] <= limit + 0.01]
    return Placed(whole, utterance.language, whole[:1] == words[:1], bool(whole) and whole[-1:] == words[-1:])


def compose(rng: random.Random, corpus: Corpus, seconds: float, augment: float) -> Window:
    """A window of `seconds` with one or many utterances; `augment` is the share with a channel effect."""
    window = Window(np.zeros(round(seconds * SAMPLE_RATE), np.float32), seconds, draw_language(rng))
    stop = rng.choice((0.0, 0.0, 0.15, 0.5)) if seconds > 10 else rng.choice((0.0, 0.3, 0.6))
    cuts = seconds > 10 and rng.random() < 0.35
    gain = 10 ** (rng.uniform(-18, 4) / 20)
    utterance = corpus.draw(rng, window.language)
    while utterance.duration_s > seconds - 0.1:
        utterance = corpus.draw(rng, window.language)
    if seconds > 10 and rng.random() < 0.2:
        cursor = -rng.uniform(0.05, 0.9) * utterance.duration_s
    else:
        cursor = min(lead(rng, seconds), seconds - utterance.duration_s - 0.02)
    while True:
        is_cut = cursor + utterance.duration_s > seconds - 0.02
        if is_cut and not (cuts and window.placed and cursor < seconds - 0.1):
            break
        placed = add(window, utterance, cursor, gain * 10 ** (rng.uniform(-5, 0) / 20))
        if is_cut:
            window.cut_at = max(cursor, 0.0)
        if placed.words:
            window.placed.append(placed)
        cursor += utterance.duration_s
        if is_cut or rng.random() < stop:
            break
        cursor += gap(rng)
        utterance = corpus.draw(rng, window.language)
    _finish(rng, window, min(cursor, seconds), augment)
    return window


def _finish(rng: random.Random, window: Window, speech_end_s: float, augment: float) -> None:
    """Adds the channel and decides where the content ends and the padding begins."""
    seconds = len(window.samples) / SAMPLE_RATE
    kind = rng.random()
    if window.cut_at is not None or kind < 0.3:
        window.content_s = seconds
    elif kind < 0.6:
        window.content_s = min(seconds, speech_end_s + rng.uniform(0.0, 0.3))
    else:
        window.content_s = rng.uniform(min(speech_end_s + 0.02, seconds), seconds)
    if rng.random() < augment:
        content = round(window.content_s * SAMPLE_RATE)
        window.samples[:content] = channel(rng, window.samples[:content])
    np.clip(window.samples, -1, 1, out=window.samples)
