"""One window on its way up the temperature ladder, until a hypothesis passes the guards."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asr.request.options import RequestOptions
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.sessions.base import Tally
from asr.text.guards import compression_ratio, is_high, is_hopeless, is_silence, rejection
from asr.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Judged:
    """A hypothesis that passed, or what is left when none did."""

    hypothesis: Hypothesis
    ratio: float  # compression ratio of its text
    silent: bool
    rejected: bool = False  # no temperature gave a hypothesis that passes


@dataclass(frozen=True, slots=True)
class Climb:
    """A window, the rung it stands on, and what failed on the rungs below."""

    window: Window
    rung: int = 0
    failed: tuple[Judged, ...] = ()


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
) -> Judged | Climb:
    """The verdict, or the climb that goes on, with the language kept that the first rung detected."""
    tally.add(hypothesis)
    if hypothesis.looped and is_high(hypothesis.no_speech_prob, options.guards.no_speech_threshold):
        # silence or a loop? That takes the probability of the whole text, which the guard has cut
        return replace(climb, window=_with(climb.window, loop_limit=None))
    judged = judgement(hypothesis, options, tokenizer)
    if not judged.rejected:
        tally.silent_windows += judged.silent
        return judged
    rung, failed = climb.rung + 1, (*climb.failed, judged)
    if rung < len(options.temperatures):
        tally.fallbacks[rejection(hypothesis, judged.ratio, options.guards) or ""] += 1
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
    left = _likeliest(failed, options) if options.long_form == "parallel" else judged
    tally.silent_windows += left.silent
    return left


def judgement(hypothesis: Hypothesis, options: RequestOptions, tokenizer: Tokenizer) -> Judged:
    """What the guards say of one hypothesis, whatever its rung."""
    text = tokenizer.decode(hypothesis.tokens).strip()
    ratio = compression_ratio(text, options.guards.compression_unit)
    rejected = rejection(hypothesis, ratio, options.guards) is not None
    return Judged(hypothesis, ratio, is_silence(hypothesis, options.guards), rejected)


def _likeliest(failed: tuple[Judged, ...], options: RequestOptions) -> Judged:
    """The likeliest of those whose text does not repeat itself; of none, the one that does so least."""
    limit = options.guards.compression_ratio_threshold
    fluent = [each for each in failed if not is_high(each.ratio, limit)]
    if fluent:
        best = max(fluent, key=lambda each: each.hypothesis.avg_logprob)
    else:
        best = min(failed, key=lambda each: each.ratio)
    return replace(best, silent=best.silent or is_hopeless(best.hypothesis))


def _loop_limit(options: RequestOptions, rung: int) -> float | None:
    """A row in a loop may stop only while its hypothesis would be thrown away anyway."""
    is_last = rung + 1 >= len(options.temperatures)
    return None if is_last else options.guards.compression_ratio_threshold


def _with(window: Window, **changes: object) -> Window:
    return replace(window, options=replace(window.options, **changes))  # type: ignore[arg-type]
