"""The Engine protocol: windows of any requests → one hypothesis or one error each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from asr.errors import AsrError
from asr.schema import Hypothesis, Window


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The facts of a model that a session needs; it never sees the model itself."""

    name: str
    multilingual: bool
    num_languages: int
    n_mels: int
    n_text_ctx: int  # decoder positions, 448
    short_windows: bool = False  # whether the engine encodes less than 30 s where a window asks for it
    family: str = "whisper"  # decides which sessions can use it; an older worker does not name it


# takes the place of a window among those that are decoded, and its hypothesis
OnFound = Callable[[int, Hypothesis], None]


class Engine(Protocol):
    """Decodes windows side by side.

    `decode` returns one outcome per window, in order. A window that fails is an `AsrError` in its place and
    does not change its neighbours. Windows are stateless, so decoding one twice is harmless.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def max_batch_size(self) -> int:
        """The most windows that share one forward pass."""
        ...

    def most_together(self, frames: int) -> int:
        """The most windows of `frames` encoder frames that should share a batch now, at least 1."""
        ...

    @property
    def description(self) -> str:
        """Device and number format: "cpu bfloat16"."""
        ...

    @property
    def oom_count(self) -> int:
        """Batches that ran out of memory."""
        ...

    def decode(
        self, windows: Sequence[Window], on_found: OnFound | None = None
    ) -> list[Hypothesis | AsrError]:
        """One outcome per window, in order.

        on_found: is called, where the engine can tell, when a window is done while others go on. It may be
        called again for a window that is decoded again for want of memory.
        """
        ...
