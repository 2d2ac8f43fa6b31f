"""Greedy search and sampling (whisper/decoding.py, GreedyDecoder), rows of any temperature side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from asr.engines.decoding.logit_rules import RuledLogits
from asr.engines.decoding.loop_guard import GUARD_EVERY, is_loop
from asr.engines.decoding.plan import DecodePlan
from asr.engines.decoding.search import Search
from asr.engines.results import SearchResult, rank


class GreedySearch(Search):
    """The likeliest token at temperature 0, a random one above; the best of `group` samples is taken."""

    def _begin(self) -> None:
        num_rows = len(self.plans) * self.group
        caps = [plan.max_tokens for plan in self.plans for _ in range(self.group)]
        self._rows = {
            "tokens": torch.full((num_rows, self.cap), self._tokenizer.eot, device=self.device),
            "logprobs": torch.zeros(num_rows, self.cap, device=self.device),
            "alive": torch.ones(num_rows, dtype=torch.bool, device=self.device),
            "looped": torch.zeros(num_rows, dtype=torch.bool, device=self.device),
            "caps": torch.tensor(caps, device=self.device),
        }
        self._sampling = _Sampling(self.plans, self.group, self.cap, self.device)

    def _choose(self, choice: RuledLogits, sampled: int) -> Tensor:
        rows, eot = self._rows, self._tokenizer.eot
        tokens = self._sampling.replace(choice, choice.greedy(), sampled)
        tokens = tokens.where(rows["alive"], eot)
        rows["tokens"][:, sampled] = tokens
        rows["logprobs"][:, sampled] = choice.logprobs(tokens).masked_fill(~rows["alive"], 0.0)
        rows["alive"] &= (tokens != eot) & (rows["caps"] > sampled + 1)
        self.rules.remember(tokens)
        return tokens

    def _latest(self, sampled: int) -> Tensor:
        return self._rows["tokens"][:, sampled - 1]

    def _finished(self, sampled: int) -> list[bool]:
        if self._settings.loop_guard and sampled % GUARD_EVERY == 0:
            self._stop_loops(sampled)
        return (~self._rows["alive"].view(-1, self.group).any(1)).tolist()

    def _stop_loops(self, sampled: int) -> None:
        tokens = self._rows["tokens"][:, :sampled].tolist()
        for row, is_alive in enumerate(self._rows["alive"].tolist()):
            plan = self.plans[self.live[row // self.group]]
            if not is_alive or plan.loop_limit is None:
                continue
            if is_loop(tokens[row], plan.max_tokens - sampled, self._tokenizer, plan.loop_limit):
                self._rows["alive"][row] = False
                self._rows["looped"][row] = True

    def _result(self, slot: int, sampled: int) -> SearchResult:
        rows = range(slot * self.group, (slot + 1) * self.group)
        candidates = [self._row_result(row, slot, sampled) for row in rows]
        penalty = self.plans[self.live[slot]].length_penalty
        return max(candidates, key=lambda result: rank(result.logprob, len(result.tokens), penalty))

    def _row_result(self, row: int, slot: int, sampled: int) -> SearchResult:
        eot = self._tokenizer.eot
        cap = self.plans[self.live[slot]].max_tokens
        tokens = self._rows["tokens"][row, : min(sampled, cap)].tolist()
        logprobs = self._rows["logprobs"][row, : min(sampled, cap)]
        length = tokens.index(eot) if eot in tokens else len(tokens)
        looped = bool(self._rows["looped"][row])
        return SearchResult(
            tokens=tuple(tokens[:length]),
            logprob=float(logprobs.sum()),
            no_speech_prob=self.no_speech(slot),
            truncated=length == len(tokens) and not looped,
            looped=looped,
            token_logprobs=tuple(logprobs[:length].tolist()),
        )

    def _keep(self, slots: Tensor, rows: Tensor) -> None:
        self._rows = {name: values[rows] for name, values in self._rows.items()}
        self._sampling.keep(rows)


class _Sampling:
    """Tokens of the rows with a temperature, drawn with numbers that depend on their window alone."""

    def __init__(self, plans: Sequence[DecodePlan], group: int, cap: int, device: torch.device) -> None:
        temperatures = [plan.temperature for plan in plans for _ in range(group)]
        self._is_sampled = [temperature > 0 for temperature in temperatures]
        self._temperatures = torch.tensor(temperatures, device=device)
        draws = torch.zeros(len(temperatures), cap)
        for window, plan in enumerate(plans):
            if plan.temperature > 0:
                generator = torch.Generator().manual_seed(plan.seed)
                # as many as the window has tokens: `cap` is its neighbours' too, and would shift the numbers
                own = torch.rand(group, plan.max_tokens, generator=generator)
                draws[window * group : (window + 1) * group, : plan.max_tokens] = own
        self._draws = draws.to(device) if any(self._is_sampled) else draws[:, :0]
        self._index_rows(device)

    def _index_rows(self, device: torch.device) -> None:
        sampled = [row for row, is_sampled in enumerate(self._is_sampled) if is_sampled]
        self._index = torch.tensor(sampled, dtype=torch.int64, device=device)

    def keep(self, rows: Tensor) -> None:
        if not any(self._is_sampled):
            return
        self._is_sampled = [self._is_sampled[row] for row in rows.tolist()]
        self._temperatures = self._temperatures[rows]
        self._draws = self._draws[rows]
        self._index_rows(rows.device)

    def replace(self, choice: RuledLogits, tokens: Tensor, sampled: int) -> Tensor:
        """`tokens` with those of the sampled rows drawn at random."""
        if not len(self._index):
            return tokens
        scaled = choice.masked(self._index) / self._temperatures[self._index, None]
        cumulative = scaled.softmax(1).cumsum(1)
        total = cumulative[:, -1]
        # below the total, so that the last token is only drawn where it has a probability
        point = (self._draws[self._index, sampled] * total).minimum(total.nextafter(total.new_zeros(1)))
        drawn = torch.searchsorted(cumulative, point[:, None], right=True)[:, 0]
        return tokens.index_copy(0, self._index, drawn)
