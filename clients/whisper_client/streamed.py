"""A recording sent as it would be spoken: its text, what settled before, and how long a listener waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from whisper_client.errors import ServerRefused
from whisper_client.live_sound import Paced, file_chunks, rechunked
from whisper_client.live_stream import LiveStream
from whisper_client.live_turns import Turn
from whisper_client.tape import CHUNK_BYTES, CHUNK_MS

TAIL_MS = 1_000  # of silence behind a recording: a microphone goes on too, and the server ends the last turn


@dataclass(frozen=True, slots=True)
class Streamed:
    """One recording's texts, and seconds of its turns."""

    text: str  # of the transcripts
    settled: str  # of the deltas alone, as a client shows them that waits for no transcript
    first_word_s: tuple[float, ...]  # from the beginning of speech to its first settled word
    final_s: tuple[float, ...]  # from the end of speech to the transcript


def streamed(stream: LiveStream, path: Path) -> Streamed:
    """Sends a recording at real time.

    Raises ServerRefused for a turn that failed, and what `LiveStream.run` and `file_chunks` raise.
    """
    silence = (bytes(CHUNK_BYTES) for _ in range(TAIL_MS // CHUNK_MS))
    source = Paced(rechunked(chain(file_chunks(path), silence)))
    stream.run(source, lambda _: None)
    if failures := [turn.failure for turn in stream.turns.all if turn.failure]:
        raise ServerRefused(f"{len(failures)} turns failed: {failures[0]}", status=500)
    turns = [turn for turn in stream.turns.all if turn.transcript]
    return Streamed(
        text=" ".join(turn.text for turn in turns),
        settled=" ".join(turn.settled.strip() for turn in turns),
        first_word_s=tuple(_first_word_s(stream, turns, source.spoken_at)),
        final_s=tuple(_final_s(stream, turns, source.spoken_at)),
    )


def _first_word_s(
    stream: LiveStream, turns: Sequence[Turn], spoken_at: Callable[[float], float]
) -> Iterator[float]:
    padding_ms = _detection(stream).get("prefix_padding_ms") or 0
    last_end_ms = 0.0  # a turn that begins there has less padding before its speech, or none
    for turn in turns:
        speech_ms = turn.start_ms + (padding_ms if turn.start_ms > last_end_ms else 0)
        last_end_ms = turn.end_ms or 0.0
        yield (turn.first_word_at or turn.done_at or 0.0) - spoken_at(speech_ms)


def _final_s(
    stream: LiveStream, turns: Sequence[Turn], spoken_at: Callable[[float], float]
) -> Iterator[float]:
    silence_ms = _detection(stream).get("silence_duration_ms") or 0
    for turn in turns:
        yield (turn.done_at or 0.0) - spoken_at((turn.end_ms or 0.0) - silence_ms)


def _detection(stream: LiveStream) -> dict[str, Any]:
    return stream.session.get("audio", {}).get("input", {}).get("turn_detection") or {}
