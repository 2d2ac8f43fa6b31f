"""Scripted decoding: the same made-up hypotheses for openai-whisper's `transcribe` and for our sessions.

All that openai-whisper does around the model (seeking, slicing, guards, prompts, words, hallucinations) can
then be compared without a model: both sides ask for the k-th decoding and get the k-th result.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from whisper.decoding import DecodingResult
from whisper.timing import WordTiming
from whisper.utils import compression_ratio

from asr.engine import ModelSpec
from asr.errors import AsrError
from asr.schema import Hypothesis, TokenAlignment, Window
from asr.text.slicing import kept_text_tokens
from asr.text.tokenizer import tokenizer_for

SPEC = ModelSpec("scripted", multilingual=True, num_languages=99, n_mels=80, n_text_ctx=448)
TOKENIZER = tokenizer_for(True, 99)
SENTENCES = (
    " The birch canoe slid on the smooth planks.",
    ' "Stop!" he said.',
    " And so, my fellow Americans: ask not",
    " नमस्ते दुनिया।",
    " one",
    " (laughs) well - no",
    " ",
)


def random_tokens(rng: random.Random) -> tuple[int, ...]:
    """Tokens as Whisper's timestamp rules allow them: pairs rising, text between, any kind of ending."""
    begin, tokens, tick = TOKENIZER.timestamp_begin, [], 0
    for _ in range(rng.randrange(5)):
        tick += rng.randrange(0, 60)
        text = TOKENIZER.encode(rng.choice(SENTENCES))
        end = min(1500, tick + rng.randrange(1, 400))
        tokens += [begin + tick, *text, begin + end]
        tick = end
        if tick >= 1400:
            break
    ending = rng.randrange(5)
    if ending == 0 and tokens:
        tokens.append(begin + tick)  # a sentence begins and does not end
    elif ending == 1:
        tokens += [begin + tick, *TOKENIZER.encode(rng.choice(SENTENCES))]
    elif ending == 2 and not tokens:
        tokens = TOKENIZER.encode(" no timestamps at all")
    return tuple(tokens)


def random_hypothesis(rng: random.Random) -> Hypothesis:
    return Hypothesis(
        tokens=random_tokens(rng),
        avg_logprob=rng.choice([-0.2, -0.9, -1.0, -1.3]),
        no_speech_prob=rng.choice([0.0, 0.3, 0.6, 0.61, 0.95]),
        temperature=0.0,
        language="en",
    )


def alignment_of(tokens: Sequence[int]) -> TokenAlignment:
    """A made-up alignment, the same for the same tokens."""
    rng = random.Random(hash(tuple(tokens)))
    starts = [rng.randrange(0, 40)]
    for _ in tokens:
        starts.append(starts[-1] + rng.choice([0, 1, 3, 8, 15, 60, 150]))
    probs = tuple(rng.choice([0.01, 0.1, 0.5, 0.9]) for _ in tokens)
    return TokenAlignment(tuple(tokens), tuple(starts), probs)


def openai_alignment(
    model: Any, tokenizer: Any, text_tokens: list[int], *_: Any, **__: Any
) -> list[WordTiming]:
    """`whisper.timing.find_alignment` behind its attention weights, on the made-up alignment."""
    alignment = alignment_of(text_tokens)
    words, word_tokens = tokenizer.split_to_word_tokens([*text_tokens, tokenizer.eot])
    if len(word_tokens) <= 1:
        return []
    edges = np.pad(np.cumsum([len(t) for t in word_tokens[:-1]]), (1, 0))
    times = np.array(alignment.starts) / 50
    probs = [np.mean(alignment.probs[i:j]) for i, j in itertools.pairwise(edges)]
    return [
        WordTiming(word, tokens, start, end, probability)
        for word, tokens, start, end, probability in zip(
            words, word_tokens, times[edges[:-1]], times[edges[1:]], probs, strict=False
        )
    ]


@dataclass
class ScriptedModel:
    """Stands in for `whisper.model.Whisper`."""

    script: Callable[[int], Hypothesis]
    asked: list[tuple[tuple[int, ...], float]] = field(default_factory=list)
    dims = SimpleNamespace(n_mels=80, n_audio_ctx=1500, n_text_ctx=448)
    device = torch.device("cpu")
    is_multilingual = True
    num_languages = 99

    def decode(self, mel: torch.Tensor, options: Any) -> DecodingResult:
        hypothesis = self.script(len(self.asked))
        self.asked.append((tuple(options.prompt), options.temperature))
        text = TOKENIZER.decode(list(hypothesis.tokens)).strip()
        return DecodingResult(
            audio_features=mel,
            language="en",
            tokens=list(hypothesis.tokens),
            text=text,
            avg_logprob=hypothesis.avg_logprob,
            no_speech_prob=hypothesis.no_speech_prob,
            temperature=options.temperature,
            compression_ratio=compression_ratio(text),
        )


@dataclass
class ScriptedEngine:
    """Stands in for the engine."""

    script: Callable[[int], Hypothesis]
    asked: list[tuple[tuple[int, ...], float]] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    spec = SPEC
    max_batch_size = 4

    def most_together(self, frames: int) -> int:
        return self.max_batch_size

    def decode(self, windows: Sequence[Window], on_found: object = None) -> list[Hypothesis | AsrError]:
        return [self._one(window) for window in windows]

    def _one(self, window: Window) -> Hypothesis:
        hypothesis = self.script(len(self.asked))
        options = window.options
        self.asked.append((options.prompt, options.temperature))
        self.windows.append(window)
        alignment = None
        if options.word_timestamps:
            kept = kept_text_tokens(hypothesis.tokens, TOKENIZER.timestamp_begin, TOKENIZER.eot)
            alignment = alignment_of(kept) if kept else None
        return replace(hypothesis, temperature=options.temperature, alignment=alignment)
