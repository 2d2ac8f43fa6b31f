"""One window on its way up the temperature ladder, until a hypothesis passes the guards."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asr.constants import WINDOW_FRAMES
from asr.request.options import RequestOptions
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.sessions.base import Tally
from asr.text.guards import (
    compression_ratio,
    is_convincing,
    is_high,
    is_hopeless,
    is_silence,
    rejection,
)
from asr.text.tokenizer import Tokenizer

MIN_SAID_TWICE = 5  # tokens: people repeat single words


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guards say of a hypothesis."""

    hypothesis: Hypothesis
    ratio: float  # compression ratio of its text
    silent: bool  # to be dropped as silence
    rejected: bool = False  # to be tried again at the next temperature


@dataclass(frozen=True, slots=True)
class Climb:
    """A window, the rung it stands on, and what failed on the rungs below."""

    window: Window
    rung: int = 0
    failed: tuple[Verdict, ...] = ()


def decoding_options(
    options: RequestOptions, language: str | None, prompt: tuple[int, ...]
) -> DecodingOptions:
    """How a request's windows are decoded on the first rung."""
    return replace(
        options.decoding,
        language=language,
        prompt=prompt,
        temperature=options.temperatures[0],
        word_timestamps=options.word_timestamps,
        loop_limit=_loop_limit(options, 0),
    )


def judge(
    climb: Climb, hypothesis: Hypothesis, options: RequestOptions, tokenizer: Tokenizer, tally: Tally
) -> Verdict | Climb:
    """The verdict that decides the window; or the window on its next rung, in the language detected."""
    tally.add(hypothesis)
    if hypothesis.looped and is_high(hypothesis.no_speech_prob, options.guards.no_speech_threshold):
        # whether it is silence depends on the probability of the whole text, which the loop guard has cut
        return replace(climb, window=_with(climb.window, loop_limit=None))
    verdict = verdict_on(hypothesis, options, tokenizer)
    if climb.window.encoder_frames < WINDOW_FRAMES and _is_doubtful(verdict, tokenizer):
        # less than 30 s may be the reason
        return replace(climb, window=replace(climb.window, encoder_frames=WINDOW_FRAMES))
    if not verdict.rejected:
        tally.silent_windows += verdict.silent
        return verdict
    rung, failed = climb.rung + 1, (*climb.failed, verdict)
    if rung < len(options.temperatures):
        tally.fallbacks[rejection(hypothesis, verdict.ratio, options.guards) or ""] += 1
        return Climb(
            _with(
                climb.window,
                temperature=options.temperatures[rung],
                language=hypothesis.language,
                loop_limit=_loop_limit(options, rung),
            ),
            rung,
            failed,
        )
    # openai-whisper answers with the hottest sample
    final = _likeliest(failed, options) if options.long_form == "parallel" else verdict
    tally.silent_windows += final.silent
    return final


def _is_doubtful(verdict: Verdict, tokenizer: Tokenizer) -> bool:
    """Whether a short window failed a guard, did not end, or says something twice in a row."""
    hypothesis = verdict.hypothesis
    if verdict.rejected or hypothesis.truncated or hypothesis.looped:
        return True
    text = [token for token in hypothesis.tokens if token < tokenizer.eot]
    return any(
        text[start : start + size] == text[start + size : start + 2 * size]
        for size in range(MIN_SAID_TWICE, len(text) // 2 + 1)
        for start in range(len(text) - 2 * size + 1)
    )


def verdict_on(hypothesis: Hypothesis, options: RequestOptions, tokenizer: Tokenizer) -> Verdict:
    """What the guards say of a hypothesis, on any rung."""
    text = tokenizer.decode(hypothesis.tokens).strip()
    ratio = compression_ratio(text, options.guards.compression_unit)
    rejected = rejection(hypothesis, ratio, options.guards) is not None
    return Verdict(hypothesis, ratio, is_silence(hypothesis, options.guards), rejected)


def is_believed(verdict: Verdict) -> bool:
    """Whether text is taken where the speech detector heard none."""
    return not verdict.rejected and is_convincing(verdict.hypothesis, verdict.ratio)


def _likeliest(failed: tuple[Verdict, ...], options: RequestOptions) -> Verdict:
    """The likeliest hypothesis whose text does not repeat itself; if all do, the least repetitive one."""
    limit = options.guards.compression_ratio_threshold
    fluent = [each for each in failed if not is_high(each.ratio, limit)]
    if fluent:
        best = max(fluent, key=lambda each: each.hypothesis.avg_logprob)
    else:
        best = min(failed, key=lambda each: each.ratio)
    return replace(best, silent=best.silent or is_hopeless(best.hypothesis))


def _loop_limit(options: RequestOptions, rung: int) -> float | None:
    """A row in a loop may stop only on a rung where its hypothesis would be rejected anyway."""
    is_last = rung + 1 >= len(options.temperatures)
    return None if is_last else options.guards.compression_ratio_threshold


def _with(window: Window, **changes: object) -> Window:
    return replace(window, options=replace(window.options, **changes))  # type: ignore[arg-type]
