"""What a search and a detection come to; every backend answers with these, none of them needs torch."""

from __future__ import annotations

from dataclasses import dataclass

TOP_LANGUAGES = 5


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best sequence of one window."""

    tokens: tuple[int, ...]  # sampled, without eot
    logprob: float  # sum over the tokens and, where it was sampled, eot
    no_speech_prob: float
    truncated: bool = False
    looped: bool = False
    token_logprobs: tuple[float, ...] = ()

    @property
    def avg_logprob(self) -> float:
        return self.logprob / (len(self.tokens) + 1)


def rank(logprob: float, length: int, length_penalty: float | None) -> float:
    """Score of a sequence among its group (whisper/decoding.py, MaximumLikelihoodRanker)."""
    penalty = length if length_penalty is None else ((5 + length) / 6) ** length_penalty
    return logprob / (penalty or 1)  # of an empty sequence, by which openai-whisper divides by zero


@dataclass(frozen=True, slots=True)
class Detection:
    """The language of one window."""

    language: str
    probs: tuple[tuple[str, float], ...]  # best first, at most TOP_LANGUAGES
    no_speech_prob: float
