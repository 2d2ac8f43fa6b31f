"""The Engine protocol: windows of any requests in, one hypothesis or one error each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from asr.errors import AsrError
from asr.schema import Hypothesis, Window


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a session must know of the model; sessions never see the model itself."""

    name: str
    multilingual: bool
    num_languages: int
    n_mels: int
    n_text_ctx: int  # decoder positions, 448
    family: str = "whisper"  # whose tokens, prompts and windows; of a worker that does not say: Whisper


class Engine(Protocol):
    """Decodes windows side by side.

    `decode` returns one outcome per window, in order. A window that fails is an `AsrError` in its place and
    does not change its neighbours. Windows are stateless, so decoding one twice is harmless.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def max_batch_size(self) -> int:
        """Windows that share one forward pass at most."""
        ...

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis | AsrError]: ...
