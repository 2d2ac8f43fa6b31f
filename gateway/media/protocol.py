"""What the gateway and a media process say to each other: JSON in single messages, samples in a file.

The process reads strangers' uploads, so its answers are checked like a stranger's: nothing is unpickled,
every field has a type and bounds, errors come from a fixed list.

The output file holds the samples (int16), then the speech probabilities (float32).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.prepare import PreparedAudio
from asr.errors import (
    AsrError,
    EngineFailure,
    InvalidAudio,
    InvalidOption,
    Overloaded,
    TooLarge,
    UnsupportedMedia,
)
from asr.request.options import RequestOptions
from asr.schema import Audio, MediaSource
from asr.wire.checks import Malformed, flag, maybe, number, read, text, whole
from gateway.media.output import mapped_samples

MAX_MESSAGE_BYTES = 65_536
MAX_MESSAGE_CHARS = 4_000  # of an error
READY = b"ready"
TAKEN = b"taken"  # sent before the upload is read: a process that dies earlier did not die of it
ERRORS: dict[str, type[AsrError]] = {
    kind.__name__: kind
    for kind in (InvalidOption, InvalidAudio, UnsupportedMedia, TooLarge, Overloaded, EngineFailure)
}
SAMPLE_BYTES, PROB_BYTES = 2, 4


@dataclass(frozen=True, slots=True)
class Orders:
    """A process's parameters, passed on its command line."""

    socket: int  # its file descriptor
    parent: int  # process id
    memory_bytes: int
    cpu_s: float  # of one upload
    max_audio_seconds: float
    max_upload_bytes: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def max_output_bytes(self) -> int:
        num_samples = int(self.max_audio_seconds + 1) * 16_000
        return num_samples * SAMPLE_BYTES + (num_samples // FRAME_SAMPLES + 1) * PROB_BYTES


@dataclass(frozen=True, slots=True)
class Task:
    """The options that preparing one upload depends on: no prompt, no names."""

    long_form: str
    vad_filter: bool
    n_mels: int

    @property
    def options(self) -> RequestOptions:
        return RequestOptions(long_form=self.long_form, vad_filter=self.vad_filter)

    def to_message(self) -> bytes:
        return json.dumps(asdict(self)).encode()


class Garbled(Exception):
    """No honest process gives this answer."""


def answer_of(outcome: PreparedAudio | AsrError, *, stays: bool = True) -> bytes:
    """The message about an outcome; `stays`: the process takes another upload."""
    answer: dict[str, Any] = {"stays": stays}
    if isinstance(outcome, AsrError):
        message = outcome.message[:MAX_MESSAGE_CHARS].encode("ascii", "replace").decode()
        answer["error"] = {"kind": type(outcome).__name__, "message": message, "param": outcome.param}
    else:
        answer["num_samples"] = len(outcome.audio.samples)
        answer["has_probs"] = outcome.speech_probs is not None
        answer["log_mel_max"] = outcome.log_mel_max
        answer["source"] = asdict(outcome.audio.source)
    return json.dumps(answer).encode()


def write_output(prepared: PreparedAudio, output: IO[bytes]) -> None:
    output.write(prepared.audio.samples.data)
    if prepared.speech_probs is not None:
        output.write(prepared.speech_probs.data)
    output.flush()


def read_answer(message: bytes, output: IO[bytes]) -> tuple[PreparedAudio | AsrError, bool]:
    """The outcome in an answer to a sealed output, and whether the process stays; raises Garbled."""
    try:
        answer = json.loads(message)
        if isinstance(answer, dict) and "error" in answer:
            failure = read(FAILURE, answer, "answer", required=tuple(FAILURE))
            return failure["error"], failure["stays"]
        success = read(SUCCESS, answer, "answer", required=tuple(SUCCESS))
        return _prepared(success, output), success["stays"]
    except (ValueError, RecursionError) as error:
        raise Garbled(repr(error)) from error


def _error(raw: Any) -> AsrError:
    values = read(ERROR, raw, "error", required=tuple(ERROR))
    kind = ERRORS.get(values["kind"])
    if kind is None:
        raise Malformed(f"names the error {values['kind']!r}, which this protocol does not have")
    return kind(values["message"], param=values["param"])


def _source(raw: Any) -> MediaSource:
    return MediaSource(**read(SOURCE, raw, "source", required=tuple(SOURCE)))


ERROR = {"kind": text(100), "message": text(MAX_MESSAGE_CHARS), "param": maybe(text(100))}
SOURCE = {
    "container": text(100),
    "codec": text(100),
    **dict.fromkeys(("sample_rate", "channels", "bad_packets"), whole(0, 2**31 - 1)),
}
FAILURE = {"stays": flag, "error": _error}
SUCCESS = {
    "stays": flag,
    "num_samples": whole(1, 2**31 - 1),
    "has_probs": flag,
    "log_mel_max": maybe(number(-100, 100)),
    "source": _source,
}


def _prepared(answer: Mapping[str, Any], output: IO[bytes]) -> PreparedAudio:
    num_samples = answer["num_samples"]
    num_probs = -(-num_samples // FRAME_SAMPLES) if answer["has_probs"] else 0
    size = num_samples * SAMPLE_BYTES + num_probs * PROB_BYTES
    if os.fstat(output.fileno()).st_size != size:
        raise Garbled(f"the output does not hold {num_samples} samples and {num_probs} probabilities")
    samples = mapped_samples(output, num_samples)
    probs = None
    if num_probs:
        stored = os.pread(output.fileno(), num_probs * PROB_BYTES, num_samples * SAMPLE_BYTES)
        probs = np.frombuffer(stored, np.float32)
        if not (np.isfinite(probs).all() and probs.min() >= 0 and probs.max() <= 1):
            raise Garbled("a speech probability is not in 0..1")
    return PreparedAudio(Audio(samples, answer["source"]), probs, answer["log_mel_max"])
