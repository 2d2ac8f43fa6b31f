"""What a backend brings: the forward passes of one model. All else of decoding is written once over these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from asr.engines.decoding.kv_cache import CrossCache, SelfCache


class StepDecoder(Protocol):
    """Whisper's text decoder without state of its own; caches are arguments. Logits are float32."""

    def cross_to_search(
        self, cross: CrossCache, windows: Sequence[int], room: int, *, is_kept: bool
    ) -> CrossCache:
        """The caches of some windows, with room for `room`, for a search to overwrite."""
        ...

    def self_cache(self, windows: int, group: int, columns: int) -> SelfCache:
        """An empty cache for `group` rows per window."""
        ...

    def prompt_logits(
        self, tokens: Tensor, places: Tensor, cross: CrossCache, cache: SelfCache | None = None
    ) -> Tensor:
        """Logits [windows, places, n_vocab] at some places of whole token sequences.

        tokens: int64 [windows, length], padded on the right: what follows a token never reaches it.
        places: int64 [windows, places]. With a `cache`, keys and values of every row of each window are
        kept there.
        """
        ...

    def next_logits(
        self, tokens: Tensor, positions: Tensor, cross: CrossCache, cache: SelfCache, columns: int
    ) -> Tensor:
        """Logits [rows, n_vocab] after one more token per live row, which is kept in `cache`.

        tokens, positions: int64 [rows]; `columns`: how many columns the longest row has, this token included.
        """
        ...

    def scored_logits(
        self, tokens: Tensor, places: Tensor, cross: CrossCache, heads: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """As `prompt_logits` without a cache, and the scores of (layer, head) pairs before softmax.

        The scores are float32 [windows, heads, length, audio positions].
        """
        ...


class Network(Protocol):
    """A model's encoder and decoder, loaded."""

    @property
    def decoder(self) -> StepDecoder: ...

    def cross_cache(self, windows: int, positions: int, *, is_kept: bool) -> CrossCache:
        """Room for keys and values of `windows`; `is_kept`: no search may overwrite it."""
        ...

    def features(self, log_mel: Tensor) -> Tensor:
        """The encoder's output [windows, positions, state] for log_mel float32 [windows, n_mels, frames]."""
        ...

    def fill_cross_cache(self, cross: CrossCache, features: Tensor, first: int) -> None:
        """Keep the keys and values that the decoder makes of `features` as windows `first` and on."""
        ...
