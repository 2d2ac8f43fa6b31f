"""Malformed requests against the real server: each is refused for what it is, and the worker lives on."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import soundfile

from asr.schema import DecodingOptions, Window
from asr.wire import messages
from tests.asr.containers import CONTAINERS, silence, stored, tone, video, wav
from tests.live.server.calls import PLAIN, PLAIN_JSON, Api
from tests.live.server.conftest import MAX_AUDIO_SECONDS, MAX_PROMPT_CHARS, MAX_UPLOAD_BYTES

pytestmark = pytest.mark.server

AUDIO = wav(tone(0.5))
BY_NAME = {container.name: container for container in CONTAINERS}
FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=X"}
PLAYLIST = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:9,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n"
SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
Call = Callable[[Api], requests.Response]


def raw(body: bytes, content_type: str = "audio/wav", path: str = "", **headers: str) -> Call:
    return lambda api: api.send(path, data=body, headers={"Content-Type": content_type, **headers})


def form(audio: bytes = AUDIO, path: str = "", **fields: Any) -> Call:
    return lambda api: api.form(audio, path, **fields)


def part(audio: bytes, content_type: str) -> Call:
    return lambda api: api.send(files={"file": ("x", audio, content_type)}, data=PLAIN)


def in_json(**fields: Any) -> Call:
    body = {"audio": base64.b64encode(AUDIO).decode(), **PLAIN_JSON, **fields}
    return raw(json.dumps(body).encode(), "application/json")


def empty_wav() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, [], 16_000, format="WAV", subtype="PCM_16")
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("speech.wav", AUDIO)
    return out.getvalue()


def a_window(**header: Any) -> bytes:
    body = messages.encode_window(Window((tone(1.0) * 9_000).astype("int16"), 100, DecodingOptions()))
    size = int.from_bytes(body[:4], "little")
    fields = json.dumps({**json.loads(body[4 : 4 + size]), **header}).encode()
    return len(fields).to_bytes(4, "little") + fields + body[4 + size :]


def many_fields(number: int) -> bytes:
    """A form of as many fields and a file."""
    start = b"--X\r\nContent-Disposition: form-data; name="
    fields = [start + b'"f%d"\r\n\r\n1\r\n' % i for i in range(number)]
    file = start + b'"file"; filename="a"\r\n\r\n' + AUDIO
    return b"".join([*fields, file, b"\r\n--X--\r\n"])


NOT_AUDIO = {
    "text": raw(b"this is no audio", "text/plain"),
    "text in another script": raw("यह ध्वनि नहीं है".encode(), "text/plain; charset=utf-8"),
    "a page": raw(b"<!doctype html><html><body>404</body></html>", "audio/mpeg"),
    "random bytes": raw(bytes((i * 7919 + i * i) % 251 for i in range(20_000))),
    "zeros": raw(bytes(100_000), "application/octet-stream"),
    "wrong magic": raw(b"RIFX" + AUDIO[4:]),
    "half a RIFF header": raw(AUDIO[:20]),
    "flac magic only": raw(b"fLaC", "audio/flac"),
    "flac cut in its header": raw(stored(BY_NAME["flac"], 1.0)[:40], "audio/flac"),
    "ogg magic only": raw(b"OggS\x00", "audio/ogg"),
    "mp3 tag only": raw(b"ID3\x04\x00\x00\x00\x00\x00\x00", "audio/mpeg"),
    "webm cut in its header": raw(stored(BY_NAME["webm"], 1.0)[:60], "audio/webm"),
    "m4a without its index": raw(stored(BY_NAME["m4a"], 1.0)[:400], "audio/mp4"),
    "video only": raw(video(with_audio=False), "video/mp4"),
    "a playlist": raw(PLAYLIST, "application/vnd.apple.mpegurl"),
    "a playlist as wav": form(PLAYLIST),
    "a concat script": raw(b"ffconcat version 1.0\nfile /etc/passwd\n"),
    "a session description": raw(SDP, "application/sdp"),
    "an image": raw(PNG, "image/png"),
    "a drawing": raw(SVG, "image/svg+xml"),
    "a zip": raw(archive(), "application/zip"),
    "a gzip": raw(b"\x1f\x8b\x08\x00" + bytes(60), "application/gzip"),
    "a pdf": raw(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "application/pdf"),
    "a text part": part(b"no audio", "text/plain"),
    "a JSON part": part(b'{"a": 1}', "application/json"),
    "JSON with text in base64": in_json(audio=base64.b64encode(b"no audio").decode()),
}
NO_AUDIO = {
    "nothing": raw(b""),
    "GET": lambda api: api.send(method="GET"),
    "curl -d ''": raw(b"", "application/x-www-form-urlencoded"),
    "curl -d with fields": raw(b"language=en&file=", "application/x-www-form-urlencoded"),
    "empty file": form(b""),
    "no file field": lambda api: api.send(files={"language": (None, "en")}),
    "form without parts": raw(b"--X--\r\n", **FORM_TYPE),
    "form cut short": raw(many_fields(0)[:120], **FORM_TYPE),
    "form of another boundary": raw(b"--Y\r\nabc\r\n--Y--\r\n", **FORM_TYPE),
    "wav without samples": raw(empty_wav()),
    "JSON without audio": raw(b'{"language": "en"}', "application/json"),
    "JSON with a number as audio": in_json(audio=5),
    "JSON with null as audio": in_json(audio=None),
    "bad base64": in_json(audio="?not base64?"),
    "base64 cut short": in_json(audio=base64.b64encode(AUDIO).decode()[:-3]),
    "a data: URL without base64": in_json(audio="data:audio/wav,abc"),
}
BAD_OPTIONS = {
    "bad JSON": raw(b"{'audio': 1}", "application/json"),
    "a JSON list": raw(b"[1, 2]", "application/json"),
    "deep JSON": raw(b"[" * 50_000, "application/json"),
    "no boundary": raw(b"abc", "multipart/form-data"),
    "unknown option": form(sprache="de"),
    "misspelt option": form(langauge="de"),
    "option in another script": form(भाषा="hi"),
    "very long option name": form(**{"x" * 100_000: "1"}),
    "ten thousand fields": raw(many_fields(10_000), **FORM_TYPE),
    "two audio fields": lambda api: api.send(files={"file": AUDIO, "audio": AUDIO}),
    "unknown language": form(language="xx"),
    "language with a line break": form(language="en\r\nX-Evil: 1"),
    "lone surrogate": in_json(language="\ud800"),
    "unknown task": form(task="sing"),
    "unknown format": form(response_format="docx"),
    "unknown granularity": form(timestamp_granularities="phoneme", response_format="verbose_json"),
    "unknown long form": form(long_form="diagonal"),
    "temperature NaN": form(temperature="nan"),
    "temperature infinite": form(temperature="-inf"),
    "temperature too high": form(temperature="1.5"),
    "temperature in words": form(temperature="warm"),
    "JSON temperature NaN": raw(
        b'{"audio": "%s", "temperature": NaN}' % base64.b64encode(AUDIO), "application/json"
    ),
    "JSON temperature in a table": in_json(temperature={"a": 1}),
    "no beams": form(beam_size="0"),
    "too many beams": form(beam_size="1000000000"),
    "half a beam": form(beam_size="1.5"),
    "stream perhaps": form(stream="perhaps"),
    "stream of subtitles": form(stream="true", response_format="srt"),
    "VAD threshold out of range": form(vad_threshold="5"),
    "too many tokens": form(max_tokens="100000"),
    "clip timestamps in words": form(clip_timestamps="a,b"),
    "prompt too long": form(prompt="x" * (MAX_PROMPT_CHARS + 1)),
    "prompt that is not UTF-8": lambda api: api.send(
        files={"file": AUDIO, "prompt": (None, b"\xff\xfe\xfa")}, data=PLAIN
    ),
    "translations that transcribe": form(path="v1/audio/translations", task="transcribe"),
    "options header not JSON": raw(AUDIO, **{"X-Whisper-Options": "language=en"}),
    "options header a list": raw(AUDIO, **{"X-Whisper-Options": "[]"}),
    "options header unknown": raw(AUDIO, **{"X-Whisper-Options": '{"sprache": "de"}'}),
    "window: too short": raw(b"\x01", path="windows"),
    "window: garbage": raw(bytes(range(256)) * 9, path="windows"),
    "window: header longer than the body": raw(b"\xff\xff\x00\x00{}", path="windows"),
    "window: header no JSON": raw(b"\x02\x00\x00\x00{]aaaa", path="windows"),
    "window: cut": raw(a_window()[:50], path="windows"),
    "window: half a sample": raw(a_window() + b"\x00", path="windows"),
    "window: too long": raw(a_window() + bytes(1_000_000), path="windows"),
    "window: unknown key": raw(a_window(evil=1), path="windows"),
    "window: NaN": raw(a_window(log_mel_max=float("nan")), path="windows"),
    "window: no frames": raw(a_window(num_frames=0), path="windows"),
    "window: unknown language": raw(a_window(options={"language": "klingon"}), path="windows"),
    "window: prompt of no such tokens": raw(a_window(options={"prompt": [999_999]}), path="windows"),
}
NO_WINDOW = {
    "window: nothing": raw(b"", path="windows"),
    "window: text": raw(b"abc", "text/plain", path="windows"),
    "window: JSON": raw(b"{}", "application/json", path="windows"),
}
TOO_LARGE = {
    "too many seconds": raw(wav(tone(MAX_AUDIO_SECONDS + 0.5))),
    "too many compressed seconds": lambda api: raw(silence(BY_NAME["flac"], 600.0), "audio/flac")(api),
    "too many bytes": raw(wav(tone(1.0)) + bytes(MAX_UPLOAD_BYTES), "audio/wav"),
}
NOWHERE = {
    "wrong path": raw(AUDIO, path="v1/audio/speech"),
    "wrong path in another script": raw(AUDIO, path="भाषा"),
    "path outwards": raw(AUDIO, path="healthz%2F..%2F..%2Fetc"),
}
TABLE: dict[str, tuple[Call, set[int], set[str]]] = {
    **{name: (call, {415}, {"unsupported_media"}) for name, call in NOT_AUDIO.items()},
    **{name: (call, {400}, {"invalid_audio"}) for name, call in (NO_AUDIO | NO_WINDOW).items()},
    **{name: (call, {400}, {"invalid_value"}) for name, call in BAD_OPTIONS.items()},
    **{name: (call, {413}, {"too_large"}) for name, call in TOO_LARGE.items()},
    **{name: (call, {404}, {"not_found"}) for name, call in NOWHERE.items()},
}


@pytest.fixture(scope="module", autouse=True)
def _the_worker_survives(api: Api) -> Iterator[None]:
    before = api.server.worker_pids()
    assert len(before) == 1
    yield
    assert api.server.worker_pids() == before, "a malformed request cost the worker"


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 40


@pytest.mark.parametrize("name", TABLE)
def test_refused_for_what_it_is(api: Api, name: str) -> None:
    call, statuses, codes = TABLE[name]
    answer = call(api)
    assert answer.status_code in statuses, answer.text[:500]
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()["error"]
    assert error["code"] in codes and error["type"] == "invalid_request_error"
    assert 10 < len(error["message"]) < 3_000


def test_all_of_them_at_once_beside_good_requests(api: Api) -> None:
    """The whole table from seven threads and good requests from an eighth: shared batches change nothing."""
    good = form(wav(tone(1.0)))
    expected = good(api).content
    todo = [*TABLE.items()]
    num_good = 0
    wrong: list[str] = []

    def work() -> None:
        while todo:
            with contextlib.suppress(IndexError):
                name, (call, statuses, _) = todo.pop()
                answer = call(api)
                if answer.status_code not in statuses:
                    wrong.append(f"{name}: {answer.status_code}")

    threads = [threading.Thread(target=work) for _ in range(7)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        answer = good(api)
        num_good += 1
        if answer.content != expected:
            wrong.append(f"good request: {answer.status_code} {answer.text[:200]}")
    assert wrong == []
    assert num_good >= 2


HARMLESS = {
    "prompt with NUL": form(prompt="a\x00b"),
    "prompt in a lost script": form(prompt="𐤀𐤁 \u202e\u0000\ufeff"),
    "blank prompt": form(prompt=" \n "),
    "language in capitals": form(language="EN"),
    "language by name": form(language="English"),
    "a model's name": form(model="whisper-1"),
    "a file name upwards": lambda api: api.send(files={"file": ("../../e\u0301/x.wav", AUDIO)}, data=PLAIN),
    "a lying content type": raw(AUDIO, "video/x-matroska", **{"X-Whisper-Options": json.dumps(PLAIN_JSON)}),
    "a wav with a tail": form(AUDIO + b"\r\n[METRICS]"),
    "a wav cut short": form(AUDIO[:-1_001]),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_odd_but_harmless_requests_are_answered(api: Api, name: str) -> None:
    answer = HARMLESS[name](api)
    assert answer.status_code == 200, answer.text


REFUSED_BY_THE_FRONTEND = {  # TorchServe's Java parses forms before any worker sees them, and says 500
    "empty boundary": raw(b"abc", "multipart/form-data; boundary="),
    "a part without a name": raw(
        b"--X\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--X--\r\n", **FORM_TYPE
    ),
    "a web form of bytes": raw(b"RIFF%zz\xff=", "application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize("name", REFUSED_BY_THE_FRONTEND)
def test_what_torchserve_itself_cannot_parse_reaches_no_worker(api: Api, name: str) -> None:
    answer = REFUSED_BY_THE_FRONTEND[name](api)
    assert answer.status_code == 500
    assert set(answer.json()) == {"code", "type", "message"}  # TorchServe's shape, not ours


def test_nothing_a_caller_sends_forges_a_metric(api: Api) -> None:
    forged = "\n[METRICS]whisper_requests_total.count:1000|#outcome:evil,language:evil|#hostname:h,1"
    for call in (
        form(prompt=forged),
        form(language=forged),
        form(forged.encode()),
        raw(forged.encode(), path="x"),
    ):
        assert call(api).status_code in (200, 400, 404, 415)
    assert not [name for name in api.counters() if "evil" in name]
