"""What every session is: it offers windows, accepts outcomes, and is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from asr.errors import AsrError
from asr.schema import DecodeStats, EngineSeconds, Hypothesis, Segment, Transcript, Window

BROKEN = "this request could not be processed; the server's log has the cause"  # what the caller is told


@dataclass(frozen=True, slots=True)
class Offer:
    """A window that a session wants decoded; by `key` the session knows its own window again."""

    key: int
    window: Window


class Session(Protocol):
    """One request's life. It is plain state: a driver decides when and where its windows are decoded."""

    error: AsrError | None  # set once; a session with an error is done

    @property
    def done(self) -> bool: ...

    def offers(self) -> list[Offer]:
        """The windows that can be decoded now; each is offered once."""
        ...

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        """Takes the outcome of an offered window."""
        ...


@runtime_checkable
class LiveSession(Session, Protocol):
    """A session whose audio is still arriving. While it is not done, offers nothing and has no window out, it
    waits for audio; any other session would be broken then."""

    async def fed(self) -> bool:
        """Returns once audio has come since the last call; False if it was the last."""
        ...


class FileSession(Session, Protocol):
    """A session over a whole utterance."""

    def take_segments(self) -> tuple[Segment, ...]:
        """The segments finished since the last call, in the order of the utterance."""
        ...

    def transcript(self) -> Transcript:
        """The finished transcript; only when done without error."""
        ...


@dataclass(slots=True)
class Tally:
    """Counts what a session's windows cost."""

    windows: int = 0
    silent_windows: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)
    features: float = 0.0
    encode: float = 0.0
    decode: float = 0.0
    words: float = 0.0

    def add(self, hypothesis: Hypothesis) -> None:
        self.windows += 1
        self.features += hypothesis.seconds.features
        self.encode += hypothesis.seconds.encode
        self.decode += hypothesis.seconds.decode
        self.words += hypothesis.seconds.words

    def stats(self) -> DecodeStats:
        seconds = EngineSeconds(self.features, self.encode, self.decode, self.words)
        return DecodeStats(self.windows, tuple(sorted(self.fallbacks.items())), self.silent_windows, seconds)
