"""What the gateway and a media process say to each other: JSON in single messages, samples in a file.

The process reads what strangers sent, so what it answers is checked like a stranger's: nothing is unpickled,
every field has its type and its bounds, errors are named from a fixed list.

The output file holds the samples (int16) and behind them the speech probabilities (float32).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import IO, Any, TypeVar

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
from gateway.media.output import mapped_samples

MAX_MESSAGE_BYTES = 65_536
MAX_TEXT = 4_000  # characters of an error's message
READY = b"ready"
TAKEN = b"taken"  # sent before the upload is touched: who dies earlier, dies of something else
ERRORS: dict[str, type[AsrError]] = {
    kind.__name__: kind
    for kind in (InvalidOption, InvalidAudio, UnsupportedMedia, TooLarge, Overloaded, EngineFailure)
}
SAMPLE_BYTES, PROB_BYTES = 2, 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process is told when it starts."""

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
    """One upload's options, as far as preparing it depends on them: no prompt, no names."""

    long_form: str
    vad_filter: bool
    n_mels: int

    @property
    def options(self) -> RequestOptions:
        return RequestOptions(long_form=self.long_form, vad_filter=self.vad_filter)

    def to_message(self) -> bytes:
        return json.dumps(asdict(self)).encode()


class Garbled(Exception):
    """An answer that no honest process gives."""


def answer_of(outcome: PreparedAudio | AsrError, *, stays: bool = True) -> bytes:
    """The message that tells of an outcome; `stays`: the process takes another upload."""
    answer: dict[str, Any] = {"stays": stays}
    if isinstance(outcome, AsrError):
        message = outcome.message[:MAX_TEXT]
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
        stays = _typed(answer["stays"], bool)
        if "error" in answer:
            return _read_error(answer["error"]), stays
        return _read_prepared(answer, output), stays
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Garbled(repr(error)) from error


def _read_error(found: Any) -> AsrError:
    kind = ERRORS[_typed(found["kind"], str)]
    param = found["param"]
    return kind(_text(found["message"], MAX_TEXT), param=None if param is None else _text(param, 100))


def _read_prepared(answer: Any, output: IO[bytes]) -> PreparedAudio:
    num_samples = _typed(answer["num_samples"], int)
    num_probs = -(-num_samples // FRAME_SAMPLES) if _typed(answer["has_probs"], bool) else 0
    size = num_samples * SAMPLE_BYTES + num_probs * PROB_BYTES
    if num_samples < 1 or os.fstat(output.fileno()).st_size != size:
        raise Garbled(f"{num_samples} samples and {num_probs} probabilities are not what the file holds")
    samples = mapped_samples(output, num_samples)
    probs = None
    if num_probs:
        stored = os.pread(output.fileno(), num_probs * PROB_BYTES, num_samples * SAMPLE_BYTES)
        probs = np.frombuffer(stored, np.float32)
        if not (np.isfinite(probs).all() and probs.min() >= 0 and probs.max() <= 1):
            raise Garbled("a speech probability is none")
    peak = answer["log_mel_max"]
    if peak is not None and not -100 <= _typed(peak, float) <= 100:
        raise Garbled(f"log_mel_max is {peak}")
    return PreparedAudio(Audio(samples, _read_source(answer["source"])), probs, peak)


def _read_source(found: Any) -> MediaSource:
    return MediaSource(
        container=_text(found["container"], 100),
        codec=_text(found["codec"], 100),
        sample_rate=_typed(found["sample_rate"], int),
        channels=_typed(found["channels"], int),
        bad_packets=_typed(found["bad_packets"], int),
    )


def _typed(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.100} is not of type {kind.__name__}")
    return value


def _text(value: Any, max_length: int) -> str:
    text = _typed(value, str)
    if len(text) > max_length:
        raise ValueError(f"a text of {len(text)} characters")
    return text
