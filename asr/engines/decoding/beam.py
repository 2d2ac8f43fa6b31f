"""Beam search with openai-whisper's results (whisper/decoding.py, BeamSearchDecoder), all windows at once.

openai-whisper ranks Python tuples of tokens in a dictionary, row by row. Here candidates stay on the device:
sorted per window, the first `beam_size` that go on become the beams, the ends met before are kept as
finished.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asr.engines.decoding.logit_rules import RuledLogits
from asr.engines.decoding.search import Search
from asr.engines.results import SearchResult, rank


class BeamSearch(Search):
    def _begin(self) -> None:
        windows, beams, device, eot = len(self.plans), self.group, self.device, self._tokenizer.eot
        self._room = max(plan.max_candidates for plan in self.plans)
        self._shared = min(len(plan.initial_tokens) for plan in self.plans)  # columns all beams have alike
        self._beams = {
            "tokens": torch.full((windows, beams, self.cap), eot, device=device),
            "logprobs": torch.zeros(windows, beams, self.cap, device=device),
            # before the first token all beams are one
            "sums": torch.full((windows, beams), -torch.inf, device=device).index_fill_(
                1, torch.zeros(1, dtype=torch.int64, device=device), 0.0
            ),
            # finished sequences, one more place than there is room: what does not fit is written there
            "ends": torch.full((windows, self._room + 1, self.cap), eot, device=device),
            "end_logprobs": torch.zeros(windows, self._room + 1, self.cap, device=device),
            "end_sums": torch.zeros(windows, self._room + 1, device=device),
            "num_ends": torch.zeros(windows, dtype=torch.int64, device=device),
            "limits": torch.tensor([plan.max_candidates for plan in self.plans], device=device),
            "caps": torch.tensor([plan.max_tokens for plan in self.plans], device=device),
        }

    def _choose(self, choice: RuledLogits, sampled: int) -> Tensor:
        state, beams = self._beams, self.group
        windows = len(state["sums"])
        logprobs, ids = (values.view(windows, -1) for values in choice.top(beams + 1))
        scores = state["sums"].repeat_interleave(beams + 1, 1) + logprobs
        # stable: equal scores stay in openai-whisper's order, beam by beam
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        ids, logprobs, parents = ids.gather(1, order), logprobs.gather(1, order), order // (beams + 1)

        is_end = ids == self._tokenizer.eot
        ends_first = is_end & ((~is_end).cumsum(1) < beams)  # met before the beams are complete
        self._finish(ends_first, parents, scores, logprobs, sampled)

        going = is_end.long().argsort(dim=1, stable=True)[:, :beams]
        parents, ids = parents.gather(1, going), ids.gather(1, going)
        state["sums"] = scores.gather(1, going)
        index = parents[:, :, None].expand(-1, -1, self.cap)
        for name, new in (("tokens", ids), ("logprobs", logprobs.gather(1, going))):
            state[name] = state[name].gather(1, index)
            state[name][:, :, sampled] = new
        rows = (parents + torch.arange(windows, device=self.device)[:, None] * beams).flatten()
        if sampled:
            self._cache.reorder(rows, self._shared, self._num_columns(sampled))
        self.rules.keep(rows)
        self.rules.remember(ids.flatten())
        return ids.flatten()

    def _finish(
        self, is_end: Tensor, parents: Tensor, scores: Tensor, logprobs: Tensor, sampled: int
    ) -> None:
        """Keep the ended sequences, [windows, candidates], best first, as long as there is room."""
        state, beams = self._beams, self.group
        first = (~is_end).long().argsort(dim=1, stable=True)[:, :beams]  # at most one end per beam
        is_end, parents = is_end.gather(1, first), parents.gather(1, first)
        place = state["num_ends"][:, None] + is_end.cumsum(1) - 1
        fits = is_end & (place < state["limits"][:, None])
        place = place.where(fits, self._room)
        index = parents[:, :, None].expand(-1, -1, self.cap)
        places = place[:, :, None].expand(-1, -1, self.cap)
        end_logprobs = state["logprobs"].gather(1, index)
        end_logprobs[:, :, sampled] = logprobs.gather(1, first)
        state["ends"].scatter_(1, places, state["tokens"].gather(1, index))
        state["end_logprobs"].scatter_(1, places, end_logprobs)
        state["end_sums"].scatter_(1, place, scores.gather(1, first))
        state["num_ends"] += fits.sum(1)

    def _latest(self, sampled: int) -> Tensor:
        return self._beams["tokens"][:, :, sampled - 1].flatten()

    def _finished(self, sampled: int) -> list[bool]:
        state = self._beams
        return ((state["num_ends"] >= state["limits"]) | (state["caps"] <= sampled)).tolist()

    def _result(self, slot: int, sampled: int) -> SearchResult:
        """The best of the finished sequences, and of unfinished ones where fewer than the beams finished."""
        state, eot = self._beams, self._tokenizer.eot
        candidates = []
        for end in range(int(state["num_ends"][slot])):
            tokens = state["ends"][slot, end, :sampled].tolist()
            length = tokens.index(eot) if eot in tokens else sampled
            logprobs = state["end_logprobs"][slot, end, :length]
            candidates.append((tokens[:length], float(state["end_sums"][slot, end]), logprobs, False))
        sums = state["sums"][slot].cpu().numpy()
        for beam in list(np.argsort(sums))[::-1]:
            if len(candidates) >= self.group:
                break
            tokens = state["tokens"][slot, beam, :sampled].tolist()
            candidates.append((tokens, float(sums[beam]), state["logprobs"][slot, beam, :sampled], True))
        penalty = self.plans[self.live[slot]].length_penalty
        tokens, logprob, logprobs, truncated = max(
            candidates, key=lambda candidate: rank(candidate[1], len(candidate[0]), penalty)
        )
        return SearchResult(
            tokens=tuple(tokens),
            logprob=logprob,
            no_speech_prob=self.no_speech(slot),
            truncated=truncated,
            token_logprobs=tuple(logprobs.tolist()),
        )

    def _keep(self, slots: Tensor, rows: Tensor) -> None:
        self._beams = {name: values[slots] for name, values in self._beams.items()}
