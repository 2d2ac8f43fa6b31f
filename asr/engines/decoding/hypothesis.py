"""What was found in a window, its language and its words → the hypothesis."""

from __future__ import annotations

from asr.engines.decoding.plan import DecodePlan
from asr.engines.results import Detection, SearchResult
from asr.schema import Hypothesis, TokenAlignment, Window


def hypothesis_of(
    window: Window,
    its_plan: DecodePlan,
    detection: Detection | None,
    found: SearchResult | None,
    alignment: TokenAlignment | None,
) -> Hypothesis:
    """The window's hypothesis; `found` is None where only its language was asked for."""
    if found is None:
        silence = detection.no_speech_prob if detection else 0.0
        found = SearchResult((), 0.0, silence)
    probs = detection.probs if detection else ()
    if window.options.task == "detect_language" and not detection:
        probs = ((its_plan.language, 1.0),)  # an English-only model
    return Hypothesis(
        tokens=found.tokens,
        avg_logprob=found.avg_logprob,
        no_speech_prob=found.no_speech_prob,
        temperature=its_plan.temperature,
        language=its_plan.language,
        language_probs=probs,
        truncated=found.truncated,
        looped=found.looped,
        token_logprobs=found.token_logprobs if window.options.token_logprobs else (),
        alignment=alignment,
    )
