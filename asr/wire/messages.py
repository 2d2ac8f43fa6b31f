"""Windows and hypotheses as bytes: what the gateway and the handler say to each other.

A window is a 4-byte little-endian header length, a UTF-8 JSON header and raw 16-bit little-endian PCM, so
that 960 KB of samples are neither escaped nor parsed. A hypothesis is JSON. Keys that are missing mean the
default of `asr.schema`; keys that are unknown are refused, so that two versions never misread each other.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from asr.constants import MAX_GROUP, STFT_CONTEXT, WINDOW_FRAMES, WINDOW_SAMPLES
from asr.errors import EngineFailure, InvalidOption
from asr.schema import DecodingOptions, EngineSeconds, Hypothesis, TokenAlignment, Window
from asr.wire.checks import Check, Malformed, choice, flag, many, maybe, number, read, text, whole

VERSION = 1
LENGTH_BYTES = 4
MAX_HEADER_BYTES = 256 * 1024
MAX_PCM_BYTES = 2 * (WINDOW_SAMPLES + 2 * STFT_CONTEXT)
MAX_HYPOTHESIS_BYTES = 1024 * 1024
MAX_TOKEN = 2**20
MAX_TOKENS = 4_096  # in any list of them; Whisper's text context is 448

WINDOW_KEYS: Mapping[str, Check] = {
    "version": whole(VERSION, VERSION),
    "num_frames": whole(1, WINDOW_FRAMES),
    "left_context": whole(0, STFT_CONTEXT),
    "log_mel_max": maybe(number(-100, 100)),
    "options": lambda value: value,  # read by OPTION_KEYS
}
OPTION_KEYS: Mapping[str, Check] = {
    "task": choice("transcribe", "translate", "detect_language"),
    "language": maybe(text(16)),
    "languages": many(text(16), 200),
    "prompt": many(whole(0, MAX_TOKEN), MAX_TOKENS),
    "temperature": number(0, 10),
    "max_tokens": maybe(whole(1, 448)),
    "beam_size": maybe(whole(1, MAX_GROUP)),
    "best_of": maybe(whole(1, MAX_GROUP)),
    "patience": maybe(number(0, 100)),
    "length_penalty": maybe(number(0, 1)),
    "suppress_tokens": many(whole(-2, MAX_TOKEN), MAX_TOKENS),
    "suppress_blank": flag,
    "without_timestamps": flag,
    "max_initial_timestamp_s": maybe(number(0, 30)),
    "word_timestamps": flag,
    "token_logprobs": flag,
    "loop_limit": maybe(number(0, 1_000)),
}
HYPOTHESIS_KEYS: Mapping[str, Check] = {
    "version": whole(VERSION, VERSION),
    "tokens": many(whole(0, MAX_TOKEN), MAX_TOKENS),
    "avg_logprob": number(),
    "no_speech_prob": number(),
    "temperature": number(),
    "language": text(16),
    "language_probs": many(many(lambda value: value, 2), 5),
    "truncated": flag,
    "looped": flag,
    "token_logprobs": many(number(), MAX_TOKENS),
    "alignment": maybe(lambda value: value),
    "seconds": lambda value: value,
}
ALIGNMENT_KEYS: Mapping[str, Check] = {
    "tokens": many(whole(0, MAX_TOKEN), MAX_TOKENS),
    "starts": many(whole(-1, MAX_TOKEN), MAX_TOKENS),  # -1: upstream's dtw, in windows of one position
    "probs": many(number(), MAX_TOKENS),
}
SECONDS_KEYS: Mapping[str, Check] = {
    field.name: number(0, 1e9) for field in dataclasses.fields(EngineSeconds)
}


def encode_window(window: Window) -> bytes:
    """The window as the body of a request."""
    fields = {
        "version": VERSION,
        "num_frames": window.num_frames,
        "left_context": window.left_context,
        "log_mel_max": window.log_mel_max,
        "options": dataclasses.asdict(window.options),
    }
    header = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    pcm = window.samples.astype("<i2", copy=False).tobytes()
    return b"".join((len(header).to_bytes(LENGTH_BYTES, "little"), header, pcm))


def decode_window(body: bytes | bytearray | memoryview) -> Window:
    """The window in a request's body; raises InvalidOption (param "window") if it is not one."""
    try:
        return _window(memoryview(body).cast("B"))
    except ValueError as error:  # Malformed, and what Window itself refuses
        raise InvalidOption(f"the body is not a window: {error}", param="window") from error


def encode_hypothesis(hypothesis: Hypothesis) -> bytes:
    """The hypothesis as JSON; numbers that JSON lacks are written "inf", "-inf" and "nan"."""
    fields = {"version": VERSION, **dataclasses.asdict(hypothesis)}
    return json.dumps(_spelled(fields), separators=(",", ":"), allow_nan=False).encode()


def decode_hypothesis(body: bytes | bytearray | memoryview) -> Hypothesis:
    """The hypothesis in an answer; raises EngineFailure if it is not one: the answering side broke."""
    try:
        return _hypothesis(bytes(body))
    except ValueError as error:
        raise EngineFailure(f"the answer is not a hypothesis: {error}") from error


def _window(body: memoryview) -> Window:
    if len(body) < LENGTH_BYTES:
        raise Malformed(f"it has {len(body)} bytes")
    header_end = LENGTH_BYTES + int.from_bytes(body[:LENGTH_BYTES], "little")
    if header_end - LENGTH_BYTES > MAX_HEADER_BYTES or header_end > len(body):
        raise Malformed(
            f"its header is said to have {header_end - LENGTH_BYTES} of {len(body)} bytes, "
            f"at most {MAX_HEADER_BYTES} are allowed"
        )
    pcm = body[header_end:]
    if len(pcm) % 2 or not 0 < len(pcm) <= MAX_PCM_BYTES:
        raise Malformed(f"it has {len(pcm)} bytes of PCM, must be an even number, 2..{MAX_PCM_BYTES}")
    fields = read(WINDOW_KEYS, _parsed(bytes(body[LENGTH_BYTES:header_end])), "window", ("num_frames",))
    fields.pop("version", None)
    options = DecodingOptions(**read(OPTION_KEYS, fields.pop("options", {}), "options"))
    samples = np.frombuffer(pcm, "<i2").astype(np.int16)
    if fields.get("left_context", 0) > len(samples):
        raise Malformed(f"window.left_context is {fields['left_context']} of {len(samples)} samples")
    return Window(samples=samples, options=options, **fields)


def _hypothesis(body: bytes) -> Hypothesis:
    if len(body) > MAX_HYPOTHESIS_BYTES:
        raise Malformed(f"it has {len(body)} bytes, at most {MAX_HYPOTHESIS_BYTES} are allowed")
    required = ("tokens", "avg_logprob", "no_speech_prob", "temperature", "language")
    fields = read(HYPOTHESIS_KEYS, _parsed(body), "hypothesis", required)
    fields.pop("version", None)
    fields["language_probs"] = tuple(_language_prob(pair) for pair in fields.get("language_probs", ()))
    fields["seconds"] = EngineSeconds(**read(SECONDS_KEYS, fields.get("seconds", {}), "seconds"))
    if fields.get("alignment") is not None:
        alignment = read(ALIGNMENT_KEYS, fields["alignment"], "alignment", tuple(ALIGNMENT_KEYS))
        fields["alignment"] = TokenAlignment(**alignment)
    return Hypothesis(**fields)


def _language_prob(pair: tuple[Any, ...]) -> tuple[str, float]:
    if len(pair) != 2:
        raise Malformed("language_probs must hold pairs of language and probability")
    return text(16)(pair[0]), number()(pair[1])


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode())
    except RecursionError as error:
        raise Malformed("its JSON is nested too deeply") from error


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
