"""Request fields, and windows on the wire: an object that its own checks accept, or a refusal of 400.

The first byte chooses. "f": one field per line, `name=text`, `name:=JSON`; a name again makes a list. "w": a
window as the gateway sends it to a worker. "h": a hypothesis as it comes back.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from asr.errors import EngineFailure, InvalidOption
from asr.languages import LANGUAGES
from asr.request.fields import NAMES, parse_options
from asr.request.options import RequestOptions
from asr.wire import messages
from tests.gateway.fake_hypotheses import fake_hypothesis

MAX_BYTES = 8_000
WORDS = (
    *(name.encode() for name in NAMES),
    b"[]", b"chunking_strategy[type]", b"server_vad", b"auto", b"null", b"NaN", b"-Infinity", b"1e400", b":=",
    b"verbose_json", b"segment", b"word", b"sequential", b"true", b'{"type":"server_vad"}', b"num_frames",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Valid requests of several shapes, a window and its hypothesis."""
    yield b"fmodel=whisper-1\nlanguage=en\nresponse_format=verbose_json\ntemperature=0.2"
    yield b"ftimestamp_granularities[]=word\ntimestamp_granularities[]=segment\nbeam_size:=5\nstream:=true"
    yield b'fchunking_strategy:={"type":"server_vad","threshold":0.4}\nclip_timestamps=0,1.5,3'
    yield b'flong_form=sequential\nhotwords:=["one","two"]\nsuppress_tokens=-1\nlogprob_threshold:=null'
    window = messages.decode_window(plain_window())
    yield b"w" + messages.encode_window(window)
    yield b"h" + messages.encode_hypothesis(fake_hypothesis(window))


def plain_window() -> bytes:
    header = json.dumps({"num_frames": 100, "options": {"language": "en", "prompt": [1, 2]}}).encode()
    return len(header).to_bytes(messages.LENGTH_BYTES, "little") + header + bytes(3200)


def check(data: bytes) -> None:
    """Raises AssertionError, or what the code under test should not have raised."""
    kind, rest = data[:1], data[1:]
    if kind == b"w":
        check_window(rest)
    elif kind == b"h":
        check_hypothesis(rest)
    else:
        check_fields(rest)


def check_fields(text: bytes) -> None:
    try:
        options = parse_options(fields(text), languages=LANGUAGES)
    except InvalidOption as error:
        assert "\n" not in str(error)  # it becomes a log line
        json.dumps(error.body())
        return
    assert isinstance(options, RequestOptions)
    json.dumps(dataclasses.asdict(options), allow_nan=False)  # no number that JSON and the wire lack


def check_window(body: bytes) -> None:
    try:
        window = messages.decode_window(body)
    except InvalidOption:
        return
    again = messages.decode_window(messages.encode_window(window))
    assert again.options == window.options
    assert again.samples.tobytes() == window.samples.tobytes()


def check_hypothesis(body: bytes) -> None:
    try:
        hypothesis = messages.decode_hypothesis(body)
    except EngineFailure:
        return
    first = messages.encode_hypothesis(hypothesis)
    assert messages.encode_hypothesis(messages.decode_hypothesis(first)) == first


def fields(text: bytes) -> dict[str, Any]:
    """The lines as a form or a JSON body would give them."""
    found: dict[str, Any] = {}
    for line in text.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition("=")
        read: Any = value
        if name.endswith(":"):
            name = name[:-1]
            try:
                read = json.loads(value)
            except (ValueError, RecursionError):
                read = value
        if name in found and not isinstance(read, list):
            before = found[name] if isinstance(found[name], list) else [found[name]]
            read = [*before, read]
        found[name] = read
    return found
