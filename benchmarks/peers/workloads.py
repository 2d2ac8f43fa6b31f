"""What is asked of every system: long files, short clips from many clients, one clip alone, no speech."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.peers.servers import Running
from whisper_client.client import WhisperClient, openai_url
from whisper_client.references import Reference

TIMEOUT_S = 1_800.0
CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Workload:
    """Recordings, and how many clients send them."""

    name: str
    recordings: tuple[Reference, ...]
    clients: int = 1

    @property
    def audio_s(self) -> float:
        return sum(one.seconds or 0.0 for one in self.recordings)


@dataclass(frozen=True, slots=True)
class Round:
    """One system's answers to one workload: the time for all, for each, and the texts."""

    seconds: float
    each_s: tuple[float, ...]
    texts: tuple[str, ...]


def workloads(references: Sequence[Reference]) -> list[Workload]:
    """English recordings with texts that are vouched for; the ones without speech are short."""
    english = [one for one in references if one.language == "en" and one.text and one.confidence == "high"]
    long = [one for one in english if one.kind == "long"][:5]
    short = [one for one in english if 2 <= (one.seconds or 0) <= 10]
    middle = [one for one in short if 4.5 <= (one.seconds or 0) <= 5.5]
    silent = sorted((one for one in references if not one.text), key=lambda one: one.seconds or 0)[:2]
    spread = short[:: max(1, len(short) // 40)][:40]
    return [
        Workload("long files", tuple(long)),
        Workload(f"clips of 2 to 10 s, {CLIENTS} clients", tuple(spread), CLIENTS),
        Workload("clips of 5 s, one after the other", tuple(middle[:8])),
        Workload("no speech", tuple(silent)),
    ]


def asked(system: Running, workload: Workload) -> Round:
    """Sends the workload once; raises what the client raises."""

    def send(recording: Reference) -> tuple[float, str]:
        begun = time.perf_counter()
        with WhisperClient(openai_url(system.url), timeout_s=TIMEOUT_S) as client:
            reply = client.transcribe(recording.audio, response_format="json").raise_for_status()
        return time.perf_counter() - begun, reply.text

    begun = time.perf_counter()
    with ThreadPoolExecutor(workload.clients) as pool:
        answers = list(pool.map(send, workload.recordings))
    took = time.perf_counter() - begun
    return Round(took, tuple(each for each, _ in answers), tuple(text for _, text in answers))
