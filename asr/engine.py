"""The Engine protocol: windows of any requests → one hypothesis or one error each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from asr.errors import AsrError
from asr.languages import LANGUAGES, model_languages
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
    # of the families beside Whisper
    languages: tuple[str, ...] = ()  # that it was trained on, as its settings say; empty: they do not say
    search_paths: int = 0  # of its beam search; 0: it searches greedily
    has_hotwords: bool = False
    has_word_times: bool = False
    hears_streams: bool = False  # whether it finds the words of an open turn without hearing it twice
    ends_turns: bool = False  # whether its own rules end a turn, not the speech detector's silence

    @property
    def is_whisper(self) -> bool:
        return self.family == "whisper"

    @property
    def language_codes(self) -> tuple[str, ...]:
        """The languages that a request may name, in the order of Whisper's tokens."""
        if self.is_whisper:
            return model_languages(self.multilingual, self.num_languages)
        return self.languages or tuple(LANGUAGES)

    @property
    def only_language(self) -> str | None:
        """The language of every answer of a model that has one alone."""
        codes = self.languages if not self.is_whisper else () if self.multilingual else ("en",)
        return codes[0] if len(codes) == 1 else None


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
