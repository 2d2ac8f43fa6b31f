"""One window on its way up the temperature ladder, until a hypothesis passes the guards."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asr.guards import compression_ratio, is_silence, rejection
from asr.options import RequestOptions
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.sessions.base import Tally
from asr.tokens import Tokenizer


@dataclass(frozen=True, slots=True)
class Judged:
    """A hypothesis that passed, or the last one there was to try."""

    hypothesis: Hypothesis
    ratio: float  # compression ratio of its text
    silent: bool


@dataclass(frozen=True, slots=True)
class Climb:
    """A window and the rung it stands on."""

    window: Window
    rung: int = 0


def decoding_options(
    options: RequestOptions, language: str | None, prompt: tuple[int, ...]
) -> DecodingOptions:
    """How a request's windows are decoded on the first rung."""
    return DecodingOptions(
        task=options.task,
        language=language,
        languages=options.languages,
        prompt=prompt,
        temperature=options.temperatures[0],
        max_tokens=options.max_tokens,
        beam_size=options.beam_size,
        best_of=options.best_of,
        patience=options.patience,
        length_penalty=options.length_penalty,
        suppress_tokens=options.suppress_tokens,
        suppress_blank=options.suppress_blank,
        without_timestamps=options.without_timestamps,
        max_initial_timestamp_s=options.max_initial_timestamp_s,
        word_timestamps=options.word_timestamps,
        token_logprobs=options.logprobs,
    )


def judge(
    climb: Climb, hypothesis: Hypothesis, options: RequestOptions, tokenizer: Tokenizer, tally: Tally
) -> Judged | Climb:
    """The verdict, or the climb one rung higher, with the language kept that the first rung detected."""
    tally.add(hypothesis)
    text = tokenizer.decode(hypothesis.tokens).strip()
    ratio = compression_ratio(text, options.guards.compression_unit)
    reason = rejection(hypothesis, ratio, options.guards)
    if reason is not None and climb.rung + 1 < len(options.temperatures):
        tally.fallbacks[reason] += 1
        rung = climb.rung + 1
        higher = replace(
            climb.window.options, temperature=options.temperatures[rung], language=hypothesis.language
        )
        return Climb(replace(climb.window, options=higher), rung)
    silent = is_silence(hypothesis, options.guards)
    tally.silent_windows += silent
    return Judged(hypothesis, ratio, silent)
