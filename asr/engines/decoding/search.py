"""The decode loop that all searches share: prefill, steps, leaving of finished windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.engines.decoding.kv_cache import CrossCache
from asr.engines.decoding.logit_rules import LogitRules, RuledLogits
from asr.engines.decoding.network import StepDecoder
from asr.engines.decoding.plan import DecodePlan
from asr.engines.results import SearchResult
from asr.text.tokenizer import Tokenizer

# oneDNN compiles a kernel for every shape and keeps it: a batch whose columns grew one by one spent 30 ms on
# that, and a worker 0.6 GB in time. Reading a few columns too many costs next to nothing.
COLUMN_STEP = 32
# likewise for initial tokens longer than the usual few: the prefix of a live turn grows word by word
USUAL_LENGTH, LENGTH_STEP = 8, 16


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How the loop runs; none of it changes a result in exact arithmetic."""

    check_every: int = 1  # steps between two looks at the finished flags (a device-to-host copy)
    loop_guard: bool = True
    compaction: bool = True  # rows of finished windows leave the batch; off only to measure what that brings
    # Deterministic mode: every step has this many windows and columns, however few are live. Else None.
    fixed_windows: int | None = None
    fixed_columns: int | None = None


class Search(ABC):
    """Windows with the same number of rows, decoded side by side until the last one is done."""

    def __init__(
        self,
        decoder: StepDecoder,
        tokenizer: Tokenizer,
        plans: Sequence[DecodePlan],
        cross: CrossCache,
        settings: SearchSettings,
    ) -> None:
        """`cross` is overwritten; it has room for `settings.fixed_windows`."""
        self.plans = list(plans)
        self._settings = settings
        self._num_windows = len(self.plans)
        if settings.fixed_windows is not None:
            # rows of no window keep the shapes the same; nobody reads what they decode
            self.plans += [self.plans[0]] * (settings.fixed_windows - len(self.plans))
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._cross = cross
        self.device = cross.keys.device
        self.group = plans[0].group
        self.live = list(range(len(self.plans)))  # window in each slot; slot s owns rows s * group …
        self.cap = max(plan.max_tokens for plan in self.plans)
        lengths = [len(plan.initial_tokens) for plan in self.plans]
        most = max(length + plan.max_tokens for length, plan in zip(lengths, self.plans, strict=True))
        self._columns = settings.fixed_columns or most - 1  # the last token that is sampled is never fed
        self._cache = decoder.self_cache(len(self.plans), self.group, self._num_columns(0))
        per_row = [plan for plan in self.plans for _ in range(self.group)]
        self.rules = LogitRules(per_row, tokenizer, self.device)
        # position of the token that the next step feeds
        self._positions = torch.tensor([len(plan.initial_tokens) for plan in per_row], device=self.device)
        self._no_speech: list[float] = []
        self.found: dict[int, SearchResult] = {}

    def run(self, on_found: Callable[[int, SearchResult], None]) -> list[SearchResult]:
        """The best sequence of every window, in order. on_found: called for a window that is done while
        others go on."""
        self._begin()
        tokens = self._choose(self.rules.apply(self._prefill(), is_first=True), 0)
        sampled = 1
        while True:
            if sampled % self._settings.check_every == 0 or sampled >= self.cap:
                done = self._leave(sampled)
                if not self.live:
                    return [self.found[window] for window in range(self._num_windows)]
                for window in done:
                    on_found(window, self.found[window])
                tokens = self._latest(sampled)
            columns = self._num_columns(sampled)
            self._cache.reserve(columns)
            logits = self._decoder.next_logits(tokens, self._positions, self._cross, self._cache, columns)
            # rows that are done but still here must not run past the cache, nor past the learned positions
            self._positions = (self._positions + 1).clamp_(max=self._columns - 1)
            tokens = self._choose(self.rules.apply(logits, is_first=False), sampled)
            sampled += 1

    @abstractmethod
    def _begin(self) -> None:
        """Make the state of every row, before its first token."""

    @abstractmethod
    def _choose(self, choice: RuledLogits, sampled: int) -> Tensor:
        """Take token number `sampled` of every row; returns the tokens, int64 [rows]."""

    @abstractmethod
    def _latest(self, sampled: int) -> Tensor:
        """The last token of every live row, int64 [rows]."""

    @abstractmethod
    def _finished(self, sampled: int) -> list[bool]:
        """Whether each slot's window is done."""

    @abstractmethod
    def _result(self, slot: int, sampled: int) -> SearchResult:
        """What the window in `slot` came to."""

    @abstractmethod
    def _keep(self, slots: Tensor, rows: Tensor) -> None:
        """Slot (row) i becomes what slot slots[i] (row rows[i]) was."""

    def no_speech(self, slot: int) -> float:
        return self._no_speech[self.live[slot]]

    def initial_length(self, slot: int) -> int:
        return len(self.plans[self.live[slot]].initial_tokens)

    def _prefill(self) -> Tensor:
        """Logits float32 [rows, n_vocab] after the initial tokens; also notes the no-speech probabilities."""
        if self._settings.fixed_windows is None:
            logits = self._prefill_windows(list(range(len(self.plans))))
        else:  # one at a time: the shapes depend on the window alone
            logits = torch.cat([self._prefill_windows([window]) for window in range(self._num_windows)])
            logits = F.pad(logits, (0, 0, 0, len(self.plans) - self._num_windows))
        return logits if self.group == 1 else logits.repeat_interleave(self.group, 0)

    def _prefill_windows(self, windows: list[int]) -> Tensor:
        plans = [self.plans[window] for window in windows]
        lengths = [len(plan.initial_tokens) for plan in plans]
        width = max(lengths)
        if width > USUAL_LENGTH:
            width = min(width + -width % LENGTH_STEP, self._num_columns(0))
        padded = [
            [*plan.initial_tokens, *[self._tokenizer.eot] * (width - length)]
            for plan, length in zip(plans, lengths, strict=True)
        ]
        tokens = torch.tensor(padded, device=self.device)
        sot_and_end = [(plan.sot_index, length - 1) for plan, length in zip(plans, lengths, strict=True)]
        places = torch.tensor(sot_and_end, device=self.device)
        rows = slice(windows[0] * self.group, (windows[-1] + 1) * self.group)
        logits = self._decoder.prompt_logits(
            tokens, places, self._cross.slots(windows), self._cache.part(rows)
        )
        at_sot, at_end = logits.unbind(1)
        no_speech = (at_sot[:, self._tokenizer.no_speech] - at_sot.logsumexp(1)).exp()
        self._no_speech += no_speech.tolist()
        return at_end.contiguous()

    def _num_columns(self, sampled: int) -> int:
        """Columns that the next step reads: a few more than it needs, which a mask hides."""
        if self._settings.fixed_columns is not None:
            return self._columns
        longest = max(self.initial_length(slot) for slot in range(len(self.live)))
        needed = longest + sampled
        return min(needed + -needed % COLUMN_STEP, self._columns)

    def _leave(self, sampled: int) -> list[int]:
        """Note the results of finished windows and fill their places with the last live ones; returns the
        windows."""
        done = [
            slot
            for slot, is_done in enumerate(self._finished(sampled))
            if is_done and self.live[slot] not in self.found and self.live[slot] < self._num_windows
        ]
        windows = [self.live[slot] for slot in done]
        for slot, window in zip(done, windows, strict=True):
            self.found[window] = self._result(slot, sampled)
        if self._settings.fixed_windows is not None or not self._settings.compaction:
            if all(window in self.found for window in range(self._num_windows)):
                self.live = []
        elif done:
            self._compact(set(done))
        return windows

    def _compact(self, done: set[int]) -> None:
        staying = len(self.live) - len(done)
        holes = [slot for slot in sorted(done) if slot < staying]
        movers = [slot for slot in range(staying, len(self.live)) if slot not in done]
        order = list(range(staying))
        for hole, mover in zip(holes, movers, strict=True):
            order[hole] = mover
        self.live = [self.live[slot] for slot in order]
        if not order:
            return
        slots = torch.tensor(order, device=self.device)
        rows = self._rows_of(slots)
        if holes:
            sources = torch.tensor(movers, device=self.device)
            targets = torch.tensor(holes, device=self.device)
            self._cross.move(sources, targets)
            self._cache.move(self._rows_of(sources), self._rows_of(targets))
        self._positions = self._positions[rows]
        self.rules.keep(rows)
        self._keep(slots, rows)

    def _rows_of(self, slots: Tensor) -> Tensor:
        rows = slots[:, None] * self.group + torch.arange(self.group, device=self.device)
        return rows.flatten()
