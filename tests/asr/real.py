"""Human recordings and OpenAI's weights: what the tests marked `weights` share."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import whisper

from asr.audio import media
from asr.audio.prepare import prepared_from
from asr.config import EngineConfig, Limits
from asr.engine import Engine
from asr.engines import load_engine
from asr.request.options import RequestOptions
from asr.schema import Samples, Transcript
from asr.sessions import FileSession, open_session
from asr.sessions.driver import drive
from tests.asr.asked import asked
from tests.asr.opened import audio_of
from tests.weights import real_checkpoint

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"  # not everybody has them
SECOND = 16_000
FULL_BATCHES_S = 1e6  # else they are as small as this machine is slow


@functools.cache
def recording(name: str) -> Samples:
    """A file of samples/."""
    return media.decode((SAMPLES / name).read_bytes(), Limits()).samples


@functools.cache
def references() -> dict[str, dict[str, Any]]:
    """The lines of samples/manifest.jsonl by file name."""
    lines = (SAMPLES / "manifest.jsonl").read_text("utf-8").splitlines()
    return {row["path"]: row for row in map(json.loads, lines)}


@functools.cache
def engine(name: str, backend: str = "torch") -> Engine:
    """OpenAI's model as it is shipped, but in float32, the oracle's format, and with full batches."""
    config = EngineConfig(
        str(real_checkpoint(name)),
        device="cpu",
        precision="float32",
        warm_up=False,
        backend=backend,
        max_batch_s=FULL_BATCHES_S,
    )
    return load_engine(config, None)


def transcribed(
    name: str,
    requests: Sequence[tuple[Samples, RequestOptions]],
    backend: str = "torch",
    *,
    full_windows: bool = False,
) -> list[FileSession]:
    """The sessions of all requests, driven side by side."""
    model = engine(name, backend)
    spec = replace(model.spec, short_windows=not full_windows)
    sessions = [
        open_session(prepared_from(audio_of(samples), options, spec.n_mels), options, spec)
        for samples, options in requests
    ]
    drive(model, sessions)
    assert [session.error for session in sessions] == [None] * len(sessions)
    return sessions


def transcript(
    name: str, samples: Samples, backend: str = "torch", *, full_windows: bool = False, **options: Any
) -> Transcript:
    """One request alone."""
    [session] = transcribed(name, [(samples, asked(**options))], backend, full_windows=full_windows)
    return session.transcript()


def reference_transcript(model: whisper.Whisper, samples: Samples, **options: Any) -> dict[str, Any]:
    """openai-whisper's, with its defaults."""
    audio = samples.astype(np.float32) / 32_768
    return whisper.transcribe(model, audio, fp16=False, **options)


def words(text: str) -> list[str]:
    """Lower case, without punctuation; marks stay."""
    return re.sub(r"[^\w\s]", " ", text.lower()).split()
