"""Windows and hypotheses as bytes: what the gateway and the handler say to each other.

A window is a 4-byte little-endian header length, a UTF-8 JSON header and raw 16-bit little-endian PCM, so
that 960 KB of samples are neither escaped nor parsed. A hypothesis is JSON. Keys and checks follow
`asr.schema`, and only what differs from its default is written. Unknown keys are refused: an older version
refuses what it cannot do, and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from asr.constants import STFT_CONTEXT, WINDOW_SAMPLES
from asr.errors import EngineFailure, InvalidOption
from asr.schema import Hypothesis, Window
from asr.wire.checks import Check, Malformed, read, whole
from asr.wire.from_types import checks_of, required_of, to_json

VERSION = 1  # to be raised when a default in `asr.schema` changes: a missing key then means another value
LENGTH_BYTES = 4
MAX_HEADER_BYTES = 256 * 1024
MAX_PCM_BYTES = 2 * (WINDOW_SAMPLES + 2 * STFT_CONTEXT)
MAX_HYPOTHESIS_BYTES = 1024 * 1024
SAMPLES = "samples"  # the field of a window that travels behind its header

VERSION_KEY: dict[str, Check] = {"version": whole(VERSION, VERSION)}
WINDOW_KEYS = VERSION_KEY | checks_of(Window, SAMPLES)
HYPOTHESIS_KEYS = VERSION_KEY | checks_of(Hypothesis)


def encode_window(window: Window) -> bytes:
    """The window as the body of a request."""
    fields = {"version": VERSION, **to_json(window, without=SAMPLES)}
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
    fields = {"version": VERSION, **to_json(hypothesis)}
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


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
    header = _parsed(bytes(body[LENGTH_BYTES:header_end]))
    fields = read(WINDOW_KEYS, header, "window", required_of(Window, SAMPLES))
    fields.pop("version", None)
    samples = np.frombuffer(pcm, "<i2").astype(np.int16)
    if fields.get("left_context", 0) > len(samples):
        raise Malformed(f"window.left_context is {fields['left_context']} of {len(samples)} samples")
    return Window(samples, **fields)


def _hypothesis(body: bytes) -> Hypothesis:
    if len(body) > MAX_HYPOTHESIS_BYTES:
        raise Malformed(f"it has {len(body)} bytes, at most {MAX_HYPOTHESIS_BYTES} are allowed")
    fields = read(HYPOTHESIS_KEYS, _parsed(body), "hypothesis", required_of(Hypothesis))
    fields.pop("version", None)
    return Hypothesis(**fields)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode())
    except RecursionError as error:
        raise Malformed("its JSON is nested too deeply") from error
