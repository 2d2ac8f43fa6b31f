"""A JSON body cut anywhere: the audio comes out, and little of it is ever in memory."""

from __future__ import annotations

import base64
import json
import tracemalloc

import numpy as np
import pytest

from asr.errors import AsrError, InvalidAudio, InvalidOption, TooLarge
from gateway.http.json_body import LONG_BYTES, MAX_REST_BYTES, JsonBody

FIELDS = {"language": "hi", "prompt": 'नमस्ते "a\\b/c"', "temperature": [0, 0.2], "stream": None}


def read(body: bytes, chunk: int = 65_536) -> tuple[dict[str, object], bytes]:
    reader = JsonBody()
    audio = b"".join(reader.feed(body[first : first + chunk]) for first in range(0, len(body), chunk))
    fields, rest = reader.end()
    return fields, audio + rest


def sound(size: int) -> bytes:
    return np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1_000, 49_152, 49_153, 200_000])
@pytest.mark.parametrize("style", ["plain", "slashes", "dotnet", "mime", "url"])
def test_the_audio_comes_out_however_it_is_cut(size: int, style: str) -> None:
    text = base64.b64encode(sound(size)).decode()
    if style == "url":
        text = "data:audio/wav;base64," + text
    if style == "mime":
        text = base64.encodebytes(sound(size)).decode()
    body = json.dumps({"before": "x", "audio": text, **FIELDS}, ensure_ascii=style != "plain")
    if style == "slashes":
        body = body.replace("/", "\\/")
    if style == "dotnet":
        body = body.replace("+", "\\u002B").replace("=", "\\u003d")
    for chunk in (7 if size < 100_000 else 1_013, 5_000, 10_000_000):
        assert read(body.encode(), chunk) == ({"before": "x", **FIELDS}, sound(size))


LONG = base64.b64encode(sound(LONG_BYTES)).decode()


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("", InvalidOption, "does not parse"),
        ("[]", InvalidOption, "must be an object"),
        ('{"audio": "AAAA"', InvalidOption, "does not parse"),
        ('{"audio": "AAAA', InvalidOption, "does not parse"),
        (f'{{"audio": "{LONG}', InvalidOption, "does not parse"),
        ("{}", InvalidAudio, "no audio"),
        ('{"audio": 5}', InvalidAudio, "must be a base64 string"),
        ('{"audio": "AAA"}', InvalidAudio, "not valid base64"),
        ('{"audio": "A=AA"}', InvalidAudio, "not valid base64"),
        (f'{{"audio": "{LONG}A"}}', InvalidAudio, "not valid base64"),
        (f'{{"audio": "{LONG[:-4]}AA==AAAA"}}', InvalidAudio, "not valid base64"),
        (f'{{"audio": "{LONG}é"}}', InvalidAudio, "not valid base64"),
        (f'{{"audio": "data:audio/wav,{LONG}"}}', InvalidAudio, "without ';base64,'"),
        (f'{{"audio": "{LONG}", "file": "{LONG}"}}', InvalidOption, "two texts"),
        (f'{{"audio": "AAAA", "prompt": "{LONG}"}}', InvalidOption, "beside audio"),
        (f'{{"{LONG}": 1, "audio": "AAAA"}}', InvalidOption, "beside audio"),
        (f'{{"audio": "{LONG}\\q"}}', InvalidOption, "does not parse"),
        (f'{{"audio": "{LONG}\\uZZZZ"}}', InvalidOption, "escape"),
        ('{"a": [' + "1," * MAX_REST_BYTES + "1]}", TooLarge, "beside its audio"),
        ('{"a": "' + '", "b": "'.join(["x" * 50_000] * 30) + '"}', TooLarge, "beside its audio"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("chunk", [1_000, 10_000_000])
def test_what_is_wrong_is_said(body: str, kind: type[AsrError], says: str, chunk: int) -> None:
    with pytest.raises(AsrError) as caught:
        read(body.encode(), chunk)
    assert type(caught.value) is kind
    assert says in caught.value.message and len(caught.value.message) < 500


def test_a_large_upload_is_never_in_memory() -> None:
    piece = b"A" * 65_536
    tracemalloc.start()
    reader = JsonBody()
    reader.feed(b'{"audio": "')
    decoded = sum(len(reader.feed(piece)) for _ in range(320))  # 21 MB
    reader.feed(b'", "language": "hi"}')
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (decoded, reader.end()) == (320 * 65_536 * 3 // 4, ({"language": "hi"}, b""))
    assert peak < 2_000_000
