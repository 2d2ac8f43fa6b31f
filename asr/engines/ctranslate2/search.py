"""Windows grouped into CTranslate2 calls; its results are read as openai-whisper means them.

Where CTranslate2 4.8 differs from openai-whisper's decode():
- One call takes one set of options and one length of previous text, so windows are grouped by both.
- Its `max_length` counts half of a total, or the total less the prompt: `SearchCall.max_length` inverts that.
- A score is divided by length ** length_penalty. The searches here ask for all candidates and rank them by
  openai-whisper's rule, so Google's length penalty works and `avg_logprob` divides by length + 1.
- `max_initial_timestamp_index` cannot be switched off: the last timestamp means "any".
- A beam may end only where end-of-text is among the best `beam_size` continuations; openai-whisper also takes
  ends that rank just below. With patience above 1 the chosen beam can therefore differ.
- At the token cap every live beam becomes a candidate, not only those that fill up the group.
- Random numbers are drawn by its own threads: a sampled window is not the same twice.
- It returns no probability of a token; greedy search computes them from the logits that it can return.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.engines.decoding.plan import DecodePlan
from asr.engines.results import SearchResult, rank
from asr.text.tokenizer import NUM_TIMESTAMPS

LOWEST_LOGPROB = -1e4  # an empty beam's score is lost: CTranslate2 divides it by its length, zero

Features = NDArray[np.float32]  # encoder output [windows, positions, state]


@dataclass(frozen=True, slots=True)
class SearchCall:
    """What all windows of one `generate` call have in common."""

    sot_index: int
    prompt_length: int
    max_tokens: int
    temperature: float
    group: int
    is_beam: bool
    max_candidates: int
    suppressed: tuple[int, ...]
    suppress_blank: bool
    timestamps: bool
    max_initial_timestamp: int | None
    token_logprobs: bool

    @property
    def max_length(self) -> int:
        """The total that allows `max_tokens`: CTranslate2 takes min(total // 2, total - prompt + 1)."""
        return max(2 * self.max_tokens, self.max_tokens + self.prompt_length - 1)

    def arguments(self) -> dict[str, Any]:
        """Keywords of `Whisper.generate`."""
        is_sampled = self.temperature > 0
        limit = self.max_initial_timestamp
        return {
            "beam_size": self.group if self.is_beam else 1,
            "patience": self.max_candidates / self.group if self.is_beam else 1.0,
            "num_hypotheses": self.max_candidates if self.is_beam else self.group,
            # beams: without a penalty it would stop at the first finished beam
            "length_penalty": 1.0 if self.is_beam else 0.0,
            "max_length": self.max_length,
            "return_scores": True,
            "return_logits_vocab": self.token_logprobs,
            "return_no_speech_prob": True,
            "max_initial_timestamp_index": NUM_TIMESTAMPS - 1 if limit is None else limit,
            "suppress_blank": self.suppress_blank,
            "suppress_tokens": list(self.suppressed),
            "sampling_topk": 0 if is_sampled else 1,
            "sampling_temperature": self.temperature if is_sampled else 1.0,
        }


def call_of(plan: DecodePlan, *, token_logprobs: bool) -> SearchCall:
    """The call in which a window can be decoded."""
    return SearchCall(
        sot_index=plan.sot_index,
        prompt_length=len(plan.initial_tokens),
        max_tokens=plan.max_tokens,
        temperature=plan.temperature,
        group=plan.group,
        is_beam=plan.is_beam,
        max_candidates=plan.max_candidates if plan.is_beam else plan.group,
        suppressed=plan.suppressed,
        suppress_blank=plan.suppress_blank,
        timestamps=plan.timestamps,
        max_initial_timestamp=plan.max_initial_timestamp,
        token_logprobs=token_logprobs and not plan.is_beam,
    )


def search(
    package: Any, model: Any, call: SearchCall, plans: Sequence[DecodePlan], features: Features
) -> list[SearchResult]:
    """The best sequence of every window, in order; all of `plans` belong to `call`."""
    storage = package.StorageView.from_array(np.ascontiguousarray(features))
    prompts = [list(plan.initial_tokens) for plan in plans]
    results = model.generate(storage, prompts, **call.arguments())
    return [_best(result, plan, call) for result, plan in zip(results, plans, strict=True)]


def _best(result: Any, plan: DecodePlan, call: SearchCall) -> SearchResult:
    logits = result.logits if call.token_logprobs else [()] * len(result.sequences_ids)
    candidates = [  # its sequences begin with the prefix
        _candidate(tokens[plan.prefix_length :], score, steps, call, result.no_speech_prob)
        for tokens, score, steps in zip(result.sequences_ids, result.scores, logits, strict=True)
    ]
    return max(candidates, key=lambda found: rank(found.logprob, len(found.tokens), plan.length_penalty))


def _candidate(
    tokens: Sequence[int], score: float, steps: Sequence[Any], call: SearchCall, no_speech_prob: float
) -> SearchResult:
    """steps: the logits of each step, [n_vocab] or [1, n_vocab], with -inf where the rules forbid a token."""
    logprob = score * len(tokens) if call.is_beam and tokens else score
    return SearchResult(
        tokens=tuple(tokens),
        logprob=logprob if math.isfinite(logprob) else LOWEST_LOGPROB,
        no_speech_prob=no_speech_prob,
        truncated=len(tokens) >= call.max_tokens,
        token_logprobs=tuple(
            _logprob(np.asarray(step).reshape(-1), token)
            for step, token in zip(steps, tokens, strict=False)  # one step more: end of text
        ),
    )


def _logprob(logits: NDArray[np.float32], token: int) -> float:
    best = logits.max()
    return float(logits[token] - best - np.log(np.exp(logits - best, dtype=np.float64).sum()))
