"""One configuration measured in a process of its own: for each line on stdin, a sample as JSON on stdout.

The line is the task, the same each time.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from asr.audio import media
from asr.audio.prepare import PreparedAudio, prepared_from
from asr.config import EngineConfig, Limits
from asr.constants import SAMPLE_RATE
from asr.engine import Engine
from asr.engines import load_engine
from asr.request.options import RequestOptions
from asr.schema import DecodingOptions
from asr.sessions import open_session
from asr.sessions.driver import drive
from tune.measurements import Sample

ALONE_TIMES = 3
CLIP_S = 5.0  # the recording whose length is next to this is transcribed alone


@dataclass(frozen=True, slots=True)
class Utterance:
    """A decoded recording with its speech. All configurations share this work before the engine."""

    name: str
    options: RequestOptions
    prepared: PreparedAudio

    @property
    def seconds(self) -> float:
        return len(self.prepared.audio.samples) / SAMPLE_RATE


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between
    meter: Meter | None = None
    for line in sys.stdin:
        meter = meter or Meter(json.loads(line))
        print(json.dumps(asdict(meter.sample())), file=answers, flush=True)


class Meter:
    """An engine that is loaded and warm, and the recordings that it transcribes again and again."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        """task: {model, device, settings, clips: [[name, path, language]], copies}."""
        begun = time.perf_counter()
        config = EngineConfig(model=task["model"], device=task["device"], **task["settings"])
        self._engine = engine = load_engine(config)
        self._load_s = time.perf_counter() - begun
        utterances = [
            _utterance(name, Path(path), language, engine)
            for name, path, language in task["clips"]
            if engine.spec.multilingual or language == "en"
        ]
        if not utterances:
            raise ValueError(f"no recording is in a language that {engine.spec.name} knows")
        self._alone = min(utterances, key=lambda one: abs(one.seconds - CLIP_S))
        self._together = utterances * task["copies"]
        longest = max(utterances, key=lambda one: one.seconds)
        transcripts(engine, [longest, self._alone])  # allocates, and chooses kernels

    def sample(self) -> Sample:
        clip_s = statistics.median(self._seconds([self._alone]) for _ in range(ALONE_TIMES))
        cores = _affinity()
        busy, cpu, begun = _busy_s(cores), time.process_time(), time.perf_counter()
        texts = transcripts(self._engine, self._together)
        wall = time.perf_counter() - begun
        cpu, busy = time.process_time() - cpu, _busy_s(cores) - busy
        return Sample(
            audio_s=sum(one.seconds for one in self._together),
            wall_s=wall,
            cpu_s=cpu,
            others_s=busy - cpu,
            cores=len(cores),
            clip_audio_s=self._alone.seconds,
            clip_s=clip_s,
            load_s=self._load_s,
            peak_bytes=_peak_bytes(),
            texts=texts,
        )

    def _seconds(self, utterances: Sequence[Utterance]) -> float:
        begun = time.perf_counter()
        transcripts(self._engine, utterances)
        return time.perf_counter() - begun


def transcripts(engine: Engine, utterances: Sequence[Utterance]) -> dict[str, str]:
    """Name → text, all side by side; raises the first error."""
    sessions = [open_session(one.prepared, one.options, engine.spec) for one in utterances]
    drive(engine, sessions)
    for session in sessions:
        if session.error is not None:
            raise session.error
    return {one.name: session.transcript().text for one, session in zip(utterances, sessions, strict=True)}


def _utterance(name: str, path: Path, language: str, engine: Engine) -> Utterance:
    options = RequestOptions(decoding=DecodingOptions(language=language or None))
    audio = media.decode(path.read_bytes(), Limits())
    return Utterance(name, options, prepared_from(audio, options, engine.spec.n_mels))


def _affinity() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _busy_s(cores: Sequence[int]) -> float:
    """Seconds that these cores have worked, for anybody, other machines of the same host included."""
    times = psutil.cpu_times(percpu=True)
    found = [times[core] for core in cores if core < len(times)]
    # iowait is idle, and user time holds the guests' already. Niced work counts: where the kernel groups by
    # session (sched_autogroup) it takes its share all the same
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(sum(each) - sum(getattr(each, name, 0.0) for name in idle) for each in found))


def _peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
