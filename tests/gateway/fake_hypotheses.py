"""What the fake TorchServe hears in a window: a sentence that names the window, and so proves whose it is."""

from __future__ import annotations

import zlib

from asr.engine import ModelSpec
from asr.schema import Hypothesis, TokenAlignment, Window
from asr.text.tokenizer import tokenizer_for

SPEC = ModelSpec("fake", multilingual=True, num_languages=99, n_mels=80, n_text_ctx=448)
TOKENIZER = tokenizer_for(SPEC.multilingual, SPEC.num_languages)
WORDS = ("canoe", "planks", "garden", "river", "lemon", "tiger", "window", "hello")


def fake_text(window: Window) -> str:
    """The text of a window: four words and a number from its samples, another one for other samples."""
    digest = zlib.crc32(window.samples.tobytes())
    words = [WORDS[digest >> shift & 7] for shift in (0, 3, 6, 9)]
    return f" {' '.join(words)} {digest}."


def fake_hypothesis(window: Window) -> Hypothesis:
    """One segment over the whole window, with all that its options ask for."""
    options = window.options
    language = options.language or next(iter(options.languages), "en")
    text = () if options.task == "detect_language" else tuple(TOKENIZER.encode(fake_text(window)))
    ticks = window.num_frames // 2
    tokens = text
    if text and not options.without_timestamps:
        tokens = (TOKENIZER.timestamp_begin, *text, TOKENIZER.timestamp_begin + ticks)
    starts = tuple(ticks * i // max(len(text), 1) for i in range(len(text) + 1))
    return Hypothesis(
        tokens=tokens,
        avg_logprob=-0.2,
        no_speech_prob=0.01,
        temperature=options.temperature,
        language=language,
        language_probs=() if options.language else ((language, 0.98),),
        token_logprobs=tuple(-0.01 * (i + 1) for i in range(len(tokens))) if options.token_logprobs else (),
        alignment=TokenAlignment(text, starts, (0.9,) * len(text)) if options.word_timestamps else None,
    )
