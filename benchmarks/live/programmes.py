"""Recordings one behind another, as a microphone would hear them: what each stream of a run sends."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.live.pcm_stream import PcmStream
from asr.schema import Samples
from whisper_client.live_sound import file_chunks
from whisper_client.references import Reference
from whisper_client.tape import RATE

PAUSE_S = 1.2  # between two recordings: longer than the silence that ends a turn
SEED = 16
SHORTEST_S, LONGEST_S = 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Programme:
    """One stream's sound."""

    pcm: bytes  # 16 bits at 24 kHz
    text: str  # all that is said in it

    @property
    def seconds(self) -> float:
        return len(self.pcm) / (2 * RATE)

    def samples(self) -> Samples:
        """The sound as the gateway hears it, at 16 kHz."""
        reader = PcmStream("pcm16")
        return np.concatenate((reader.read(self.pcm), reader.flush()))


def programmes(references: Sequence[Reference], count: int, seconds: float) -> list[Programme]:
    """`count` streams of about `seconds`: English recordings of people whose texts are vouched for."""
    english = [
        one
        for one in references
        if one.language == "en" and one.text and one.confidence == "high" and not one.is_derived
        if SHORTEST_S <= (one.seconds or 0.0) <= LONGEST_S
    ]
    random.Random(SEED).shuffle(english)
    found: list[Programme] = []
    for number in range(count):  # each begins elsewhere in the same list
        first = number * len(english) // count
        found.append(_joined([*english[first:], *english[:first]], seconds))
    return found


def _joined(recordings: Sequence[Reference], seconds: float) -> Programme:
    pause = bytes(2 * round(PAUSE_S * RATE))
    pcm, texts = bytearray(), []
    for one in recordings:
        if len(pcm) >= 2 * RATE * seconds:
            break
        pcm += b"".join(file_chunks(one.audio)) + pause
        texts.append(one.text)
    return Programme(bytes(pcm), " ".join(texts))
