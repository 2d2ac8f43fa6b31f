"""Programmes sent at the speed of speech, side by side, and what each turn of them came to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.live.programmes import Programme
from whisper_client.live_sound import Paced
from whisper_client.live_stream import LiveStream, session_of
from whisper_client.live_turns import COMMITTED, SPEECH, TRANSCRIPTION, Event
from whisper_client.realtime import realtime_url
from whisper_client.tape import CHUNK_BYTES

TIMEOUT_S = 120.0


@dataclass(slots=True)
class PlayedTurn:
    """One turn. Times are milliseconds since the sound began, by the clock of the one who speaks."""

    start_ms: float
    end_ms: float = 0.0  # where the server ended it
    deltas: list[tuple[float, str]] = field(default_factory=list)  # when each came
    committed_ms: float = 0.0
    final_ms: float = 0.0
    text: str = ""
    num_finals: int = 0  # transcripts that came for it

    @property
    def seconds(self) -> float:
        return (self.end_ms - self.start_ms) / 1000

    @property
    def shown(self) -> str:
        """All its deltas, as a client shows them that waits for no transcript."""
        return "".join(text for _, text in self.deltas)

    @property
    def settled(self) -> str:
        """The deltas before its commit."""
        return "".join(text for at_ms, text in self.deltas if at_ms <= self.committed_ms)


def played(url: str, all_programmes: Sequence[Programme], delay: str | None) -> list[list[PlayedTurn]]:
    """The turns of each programme; all are sent at the same time. Raises what `LiveStream.run` raises."""
    with ThreadPoolExecutor(len(all_programmes)) as pool:
        return list(pool.map(lambda one: _play(url, one, delay), all_programmes))


def _play(url: str, programme: Programme, delay: str | None) -> list[PlayedTurn]:
    turns: dict[str, PlayedTurn] = {}
    source = Paced(_chunks(programme.pcm))
    session = session_of("en", delay=delay)
    stream = LiveStream(realtime_url(url), None, session, timeout_s=TIMEOUT_S)

    def take(event: Event) -> None:
        now_ms = (time.monotonic() - source.spoken_at(0)) * 1000
        if event["type"] in ("error", f"{TRANSCRIPTION}failed"):
            raise RuntimeError(f"the server says {event['error']}")
        if "item_id" in event:
            _apply(turns, event, now_ms)

    stream.run(source, take)
    return list(turns.values())


def _apply(turns: dict[str, PlayedTurn], event: Event, now_ms: float) -> None:
    kind, item_id = event["type"], event["item_id"]
    if kind == f"{SPEECH}started":
        turns[item_id] = PlayedTurn(event["audio_start_ms"])
    elif item_id not in turns:  # the silence at the end, which the client commits
        return
    elif kind == f"{SPEECH}stopped":
        turns[item_id].end_ms = event["audio_end_ms"]
    elif kind == COMMITTED:
        turns[item_id].committed_ms = now_ms
    elif kind == f"{TRANSCRIPTION}delta":
        turns[item_id].deltas.append((now_ms, event["delta"]))
    elif kind == f"{TRANSCRIPTION}completed":
        turns[item_id].final_ms, turns[item_id].text = now_ms, event["transcript"]
        turns[item_id].num_finals += 1


def _chunks(pcm: bytes) -> Iterator[bytes]:
    for first in range(0, len(pcm), CHUNK_BYTES):
        yield pcm[first : first + CHUNK_BYTES]
