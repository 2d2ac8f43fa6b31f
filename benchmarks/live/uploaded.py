"""The same turns as uploads: their texts, and when each of their words was spoken."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import requests

from asr.constants import SAMPLE_RATE
from asr.schema import Samples
from benchmarks.closed_loop import wav
from benchmarks.live.playing import PlayedTurn

TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Upload:
    """What the HTTP door answers for a turn's samples."""

    text: str
    seconds: float  # from the first byte sent to the answer, with nothing beside it
    word_ends_ms: tuple[float, ...]  # since the sound began


def uploaded(url: str, samples: Samples, turns: Sequence[PlayedTurn]) -> list[Upload]:
    """Each turn, one after another: a batch of several would round its numbers another way.

    samples: the whole programme.
    """
    found = []
    for turn in turns:
        body = wav(samples[_sample(turn.start_ms) : _sample(turn.end_ms)])
        begun = time.perf_counter()
        text = ask(url, body)["text"]
        seconds = time.perf_counter() - begun
        timed = ask(url, body, response_format="verbose_json", **{"timestamp_granularities[]": "word"})
        ends = [turn.start_ms + 1000 * word["end"] for word in timed.get("words") or ()]
        found.append(Upload(text, seconds, tuple(ends)))
    return found


def ask(url: str, body: bytes, **fields: str) -> dict[str, Any]:
    """The answer to an upload; raises requests' errors."""
    answer = requests.post(
        f"{url}/v1/audio/transcriptions",
        files={"file": ("turn.wav", body)},
        data={"language": "en", **fields},
        timeout=TIMEOUT_S,
    )
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def _sample(ms: float) -> int:
    return round(ms * SAMPLE_RATE / 1000)
