"""What may be sampled next, for all rows at once (whisper/decoding.py, LogitFilter and its subclasses).

openai-whisper fills whole rows of logits with -inf and takes log_softmax twice. Here the vocabulary has two
ranges, text [0, eot) and the rest (special and timestamp tokens): a rule that forbids all text only clears a
flag of its row, and the maxima and sums of the ranges are combined afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.engines.decoding.plan import DecodePlan
from asr.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class RuledLogits:
    """Logits after the rules."""

    logits: Tensor  # float32 [rows, n_vocab]; where `text_allowed` is False the text range does not count
    text_allowed: Tensor  # bool [rows]
    log_total: Tensor  # float32 [rows], log of the sum over everything that counts
    text_best: Tensor  # float32 [rows], best text logit, -inf where not allowed
    text_token: Tensor  # int64 [rows]
    eot: int

    def greedy(self) -> Tensor:
        """The likeliest token of each row, int64 [rows]."""
        rest_best, rest_token = self.logits[:, self.eot :].max(1)
        return torch.where(self.text_best >= rest_best, self.text_token, rest_token + self.eot)

    def logprobs(self, tokens: Tensor) -> Tensor:
        """Log-probability of one token per row, float32 [rows]."""
        return self.logits.gather(1, tokens[:, None])[:, 0] - self.log_total

    def top(self, count: int) -> tuple[Tensor, Tensor]:
        """The best `count` tokens of each row: log-probabilities and ids, [rows, count], best first."""
        text, text_ids = self.logits[:, : self.eot].topk(count)
        text = text.masked_fill(~self.text_allowed[:, None], -torch.inf)
        rest, rest_ids = self.logits[:, self.eot :].topk(count)
        both, ids = torch.cat([text, rest], 1), torch.cat([text_ids, rest_ids + self.eot], 1)
        best, index = both.topk(count)
        return best - self.log_total[:, None], ids.gather(1, index)

    def masked(self, rows: Tensor) -> Tensor:
        """Logits of some rows with -inf wherever a token may not be sampled, [len(rows), n_vocab]."""
        logits = self.logits[rows]
        logits[:, : self.eot].masked_fill_(~self.text_allowed[rows, None], -torch.inf)
        return logits


class LogitRules:
    """Suppression, blank and timestamp rules, and what they must remember of each row's tokens."""

    def __init__(self, plans: Sequence[DecodePlan], tokenizer: Tokenizer, device: torch.device) -> None:
        """One plan per row."""
        self._eot = tokenizer.eot
        self._begin = tokenizer.timestamp_begin
        self._no_timestamps = tokenizer.no_timestamps - tokenizer.eot  # in the rest range
        self._blank = torch.tensor([*tokenizer.encode(" "), tokenizer.eot], device=device)
        self._suppression = _Suppression([plan.suppressed for plan in plans], tokenizer.n_vocab, device)
        self._any_timestamps = any(plan.timestamps for plan in plans)
        self._any_blank = any(plan.suppress_blank for plan in plans)

        none = tokenizer.n_vocab  # beyond any timestamp
        limits = [
            none if plan.max_initial_timestamp is None else plan.max_initial_timestamp for plan in plans
        ]
        self._blank_rows = torch.tensor([plan.suppress_blank for plan in plans], device=device)
        self._rows = {
            "timestamps": torch.tensor([plan.timestamps for plan in plans], device=device),
            "last_initial": torch.tensor(limits, device=device),
            # openai-whisper counts what precedes the first token as a timestamp
            "last_was": torch.ones(len(plans), dtype=torch.bool, device=device),
            "one_before_was": torch.ones(len(plans), dtype=torch.bool, device=device),
            # the latest timestamp sampled, counted from timestamp_begin
            "last_timestamp": torch.full((len(plans),), -1, device=device),
        }

    def keep(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was."""
        self._rows = {name: values[rows] for name, values in self._rows.items()}
        self._suppression.keep(rows)

    def remember(self, tokens: Tensor) -> None:
        """Take note of the token each row sampled, int64 [rows]."""
        rows = self._rows
        is_timestamp = tokens >= self._begin
        rows["one_before_was"] = rows["last_was"]
        rows["last_was"] = is_timestamp
        rows["last_timestamp"] = torch.where(is_timestamp, tokens - self._begin, rows["last_timestamp"])

    def apply(self, logits: Tensor, *, is_first: bool) -> RuledLogits:
        """The rules on logits float32 [rows, n_vocab], which are changed in place."""
        self._suppression.apply(logits)
        if is_first and self._any_blank:
            blank = logits[:, self._blank]
            logits.index_copy_(1, self._blank, blank.masked_fill(self._blank_rows[:, None], -torch.inf))
        text, rest = logits[:, : self._eot], logits[:, self._eot :]
        allowed = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        if self._any_timestamps:
            allowed = self._pair_timestamps(rest, is_first)
        text_best, text_token = text.max(1)
        text_total = text.logsumexp(1)
        if self._any_timestamps:
            allowed = self._prefer_timestamps(rest, allowed, text_best)
        text_best = text_best.masked_fill(~allowed, -torch.inf)
        text_total = text_total.masked_fill(~allowed, -torch.inf)
        log_total = torch.logaddexp(text_total, rest.logsumexp(1))
        return RuledLogits(logits, allowed, log_total, text_best, text_token, self._eot)

    def _pair_timestamps(self, rest: Tensor, is_first: bool) -> Tensor:
        """Forbid timestamps that break the pairs or go back; returns where text is allowed, [rows]."""
        state = self._rows
        ruled, specials = state["timestamps"], self._begin - self._eot
        rest[:, self._no_timestamps].masked_fill_(ruled, -torch.inf)
        times = rest[:, specials:]
        tick = torch.arange(times.shape[1], device=rest.device)
        if is_first:
            times.masked_fill_(ruled[:, None] & (tick > state["last_initial"][:, None]), -torch.inf)
            rest[:, :specials].masked_fill_(ruled[:, None], -torch.inf)
            return ~ruled
        is_pair = state["last_was"] & state["one_before_was"]  # text must follow
        is_open = state["last_was"] & ~state["one_before_was"]  # its pair, or the end, must follow
        # timestamps never decrease; a new segment is longer than zero
        lowest = state["last_timestamp"] + (~is_open).long()
        forbidden = is_pair[:, None] | (tick < lowest[:, None])
        times.masked_fill_(ruled[:, None] & forbidden, -torch.inf)
        return ~(ruled & is_open)

    def _prefer_timestamps(self, rest: Tensor, allowed: Tensor, text_best: Tensor) -> Tensor:
        """Where all timestamps together are likelier than any other token, only they are allowed."""
        specials = self._begin - self._eot
        special_best = rest[:, :specials].amax(1)
        other_best = torch.maximum(special_best, text_best.masked_fill(~allowed, -torch.inf))
        preferred = self._rows["timestamps"] & (rest[:, specials:].logsumexp(1) > other_best)
        rest[:, :specials].masked_fill_(preferred[:, None], -torch.inf)
        return allowed & ~preferred


class _Suppression:
    """Tokens that are never sampled: one list for all rows, or one bias row per distinct list."""

    def __init__(self, lists: Sequence[tuple[int, ...]], n_vocab: int, device: torch.device) -> None:
        distinct = list(dict.fromkeys(lists))
        self._common: Tensor | None = None
        self._bias: Tensor | None = None
        if len(distinct) == 1:
            self._common = torch.tensor(distinct[0], dtype=torch.int64, device=device)
            return
        bias = torch.zeros(len(distinct), n_vocab)
        for row, tokens in zip(bias, distinct, strict=True):
            row.index_fill_(0, torch.tensor(tokens, dtype=torch.int64), -torch.inf)
        self._bias = bias.to(device)
        self._list_of_row = torch.tensor([distinct.index(tokens) for tokens in lists], device=device)

    def keep(self, rows: Tensor) -> None:
        if self._bias is not None:
            self._list_of_row = self._list_of_row[rows]

    def apply(self, logits: Tensor) -> None:
        if self._common is not None:
            # index_fill: assigning through a fancy index costs 25 ms a step at 16 rows
            logits.index_fill_(1, self._common, -torch.inf)
        elif self._bias is not None:
            logits.add_(self._bias[self._list_of_row])
