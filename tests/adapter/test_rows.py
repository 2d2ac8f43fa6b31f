"""Every form in which a request can arrive, as TorchServe hands it to the handler."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from adapter.rows import UnknownPath, read_row, text_header
from asr.errors import AsrError, InvalidAudio, InvalidOption, UnsupportedMedia

AUDIO = b"RIFF\x00\xff\xfe audio"
FORM = {"Content-Type": "multipart/form-data; boundary=X", "url_path": ""}
JSON = {"Content-Type": "application/json", "url_path": ""}
RAW = {"Content-Type": "audio/wav", "url_path": ""}
BASE64 = base64.b64encode(AUDIO).decode()


def at(path: str, headers: dict[str, Any]) -> dict[str, Any]:
    return {**headers, "url_path": path}


@pytest.mark.parametrize(
    ("row", "headers"),
    [
        ({"body": bytearray(AUDIO)}, RAW),
        ({"body": bytearray(AUDIO)}, {"url_path": ""}),
        ({"data": AUDIO}, {}),  # gRPC: no headers at all
        ({"file": bytearray(AUDIO)}, FORM),
        ({"audio": bytearray(AUDIO)}, FORM),
        ({"data": bytearray(AUDIO)}, FORM),
        ({"body": bytearray(AUDIO)}, FORM),
        ({"body": {"audio": BASE64}}, JSON),
        ({"body": {"file": BASE64}}, {**JSON, "Content-Type": "application/json; charset=utf-8"}),
        ({"body": {"audio": f"data:audio/wav;base64,{BASE64}"}}, JSON),
        ({"body": {"audio": f"DATA:audio/wav;codecs=1;BASE64,{BASE64}"}}, JSON),
        ({"body": {"audio": BASE64[:8] + "\r\n " + BASE64[8:]}}, JSON),
        ({"body": bytearray(json.dumps({"audio": BASE64}).encode())}, {"content-type": "application/x+json"}),
        ({"body": bytearray(AUDIO)}, at("/v1/audio/transcriptions/", RAW)),
        ({"file": bytearray(AUDIO)}, at("v1/audio/transcriptions", FORM)),
    ],
)
def test_the_audio_arrives_whatever_the_form(row: dict[str, Any], headers: dict[str, Any]) -> None:
    request = read_row(row, headers)
    assert request.kind == "file"
    assert bytes(request.body) == AUDIO
    assert dict(request.fields) == {}


def test_form_fields_become_text_options() -> None:
    row = {"file": bytearray(AUDIO), "language": bytearray(b"hi"), "prompt": bytearray("नमस्ते".encode())}
    assert dict(read_row(row, FORM).fields) == {"language": "hi", "prompt": "नमस्ते"}


def test_text_parts_of_a_form_may_arrive_decoded() -> None:
    row = {"file": "plain text, not audio: é", "prompt": "नमस्ते", "temperature": 0.5}
    request = read_row(row, FORM)
    assert request.body == "plain text, not audio: é".encode()
    assert dict(request.fields) == {"prompt": "नमस्ते", "temperature": 0.5}


def test_json_values_keep_their_types() -> None:
    body = {"audio": BASE64, "temperature": [0, 0.2], "stream": True, "language": None, "model": ""}
    fields = read_row({"body": body}, JSON).fields
    assert dict(fields) == {"temperature": [0, 0.2], "stream": True}


def test_a_second_audio_field_is_left_for_the_option_parser_to_refuse() -> None:
    row = {"file": bytearray(AUDIO), "body": bytearray(b"x")}
    assert dict(read_row(row, FORM).fields) == {"body": "x"}


def test_header_options_reach_a_raw_body() -> None:
    headers = {**RAW, "X-Whisper-Options": '{"language": "hi", "temperature": 0}'}
    request = read_row({"body": bytearray(AUDIO)}, headers)
    assert dict(request.fields) == {"language": "hi", "temperature": 0}


def test_header_options_may_be_utf8_which_netty_reads_as_latin1() -> None:
    text = json.dumps({"prompt": "नमस्ते é"}, ensure_ascii=False)
    headers = {**RAW, "x-whisper-options": text.encode().decode("latin-1")}
    assert dict(read_row({"body": bytearray(AUDIO)}, headers).fields) == {"prompt": "नमस्ते é"}


def test_body_fields_win_over_header_options() -> None:
    headers = {**FORM, "X-Whisper-Options": '{"language": "hi", "task": "translate"}'}
    row = {"file": bytearray(AUDIO), "language": bytearray(b"ta")}
    assert dict(read_row(row, headers).fields) == {"language": "ta", "task": "translate"}


@pytest.mark.parametrize("path", ["healthz", "/healthz", "model", "windows"])
def test_other_kinds_by_path(path: str) -> None:
    request = read_row({"body": bytearray(b"PCM")}, at(path, RAW))
    assert request.kind == path.strip("/")


def test_a_window_body_is_handed_on_as_it_is() -> None:
    assert bytes(read_row({"body": bytearray(b"\x00\xff")}, at("windows", RAW)).body) == b"\x00\xff"


def test_the_describe_call_has_an_empty_row() -> None:
    assert read_row({}, {"describe": "True"}).kind == "model"


def test_healthz_needs_no_body() -> None:
    assert read_row({}, at("healthz", {})).kind == "healthz"
    assert read_row(None, at("healthz", {})).kind == "healthz"


def test_translations_path_sets_the_task() -> None:
    headers = at("v1/audio/translations", FORM)
    assert read_row({"file": bytearray(AUDIO)}, headers).fields["task"] == "translate"
    for task in (b"translate", b""):
        row = {"file": bytearray(AUDIO), "task": bytearray(task)}
        assert read_row(row, headers).fields["task"] == "translate"
    with pytest.raises(InvalidOption, match="task must be 'translate'"):
        read_row({"file": bytearray(AUDIO), "task": bytearray(b"transcribe")}, headers)


@pytest.mark.parametrize(
    "path", ["v1", "v1/models", "nothing/here", "windows/1", "ö", "\ufffd", "x" * 10_000]
)
def test_unknown_paths_are_404(path: str) -> None:
    with pytest.raises(UnknownPath) as caught:
        read_row({"body": bytearray(AUDIO)}, at(path, RAW))
    assert caught.value.status == 404
    assert len(caught.value.message) < 2_000


@pytest.mark.parametrize(
    ("row", "headers", "kind", "says"),
    [
        ({}, {**RAW, "Content-Type": "application/x-www-form-urlencoded"}, InvalidAudio, "curl -d"),
        ({}, FORM, InvalidAudio, "no file field"),
        ({"language": bytearray(b"en")}, FORM, InvalidAudio, "no file field"),
        ({"file": bytearray()}, FORM, InvalidAudio, "file is empty"),
        ({"body": bytearray()}, {"url_path": ""}, InvalidAudio, "request is empty"),
        ({"body": bytearray()}, JSON, InvalidAudio, "request is empty"),
        ({"body": ""}, {"content-type": "text/plain"}, InvalidAudio, "request is empty"),
        ({"body": bytearray(b"abc")}, {"Content-Type": "multipart/form-data"}, InvalidOption, "boundary"),
        ({"body": bytearray(b"{bad")}, JSON, InvalidOption, "does not parse"),
        ({"body": bytearray(b"[" * 100_000)}, JSON, InvalidOption, "does not parse"),
        ({"body": [1]}, JSON, InvalidOption, "must be an object"),
        ({"body": 5}, JSON, InvalidOption, "must be an object"),
        ({"body": None}, JSON, InvalidOption, "must be an object"),
        ({"body": bytearray(b"[]")}, {"content-type": "x/y+json"}, InvalidOption, "must be an object"),
        ({"body": {}}, JSON, InvalidAudio, "no audio"),
        ({"body": {"audio": 5}}, JSON, InvalidAudio, "must be a base64 string"),
        ({"body": {"audio": "abc"}}, JSON, InvalidAudio, "not valid base64"),
        ({"body": {"audio": "नमस्ते"}}, JSON, InvalidAudio, "not valid base64"),
        ({"body": {"audio": "\ud800"}}, JSON, InvalidAudio, "not valid base64"),
        ({"body": {"audio": "data:audio/wav,abc"}}, JSON, InvalidAudio, "without ';base64,'"),
        ({"body": {"audio": ""}}, JSON, InvalidAudio, "audio is empty"),
        ({"file": {"a": 1}}, FORM, UnsupportedMedia, "JSON dict"),
        ({"file": bytearray(AUDIO), "prompt": bytearray(b"\xff\xfe")}, FORM, InvalidOption, "not UTF-8"),
        ("garbage", RAW, InvalidAudio, "no upload"),
        (None, RAW, InvalidAudio, "no upload"),
        ([], RAW, InvalidAudio, "no upload"),
        ({"body": "text"}, at("windows", RAW), InvalidAudio, "window wire format"),
        ({}, at("windows", RAW), InvalidAudio, "window wire format"),
        ({"body": bytearray(AUDIO)}, {**RAW, "X-Whisper-Options": "{bad"}, InvalidOption, "not JSON"),
        ({"body": bytearray(AUDIO)}, {**RAW, "X-Whisper-Options": "[1]"}, InvalidOption, "JSON object"),
        (
            {"body": bytearray(AUDIO)},
            {**RAW, "X-Whisper-Options": '{"a": "' + "x" * 9_000},
            InvalidOption,
            "at most",
        ),
        ({"body": bytearray(AUDIO)}, {**RAW, "X-Whisper-Options": '{"file": "x"}'}, InvalidOption, "'file'"),
    ],
)
def test_bad_rows_say_what_is_wrong(
    row: Any, headers: dict[str, Any], kind: type[AsrError], says: str
) -> None:
    with pytest.raises(AsrError) as caught:
        read_row(row, headers)
    assert type(caught.value) is kind
    assert says in caught.value.message


def test_headers_are_found_in_any_case_and_only_as_text() -> None:
    assert text_header({"X-WHISPER-Options": "a"}, "x-whisper-options") == "a"
    assert text_header(
        {"content-type": {"content-type": ""}, "Content-Type": "audio/wav"}, "content-type"
    ) == ("audio/wav")
    assert text_header({"describe": {"content-type": ""}}, "describe") == ""


def test_a_form_field_cannot_pose_as_a_header() -> None:
    row = {"file": bytearray(AUDIO), "describe": bytearray(b"True")}
    headers = {**FORM, "describe": {"content-type": ""}, "url_path": ""}
    request = read_row(row, headers)
    assert request.kind == "file"
    assert dict(request.fields) == {"describe": "True"}


def test_a_clients_header_cannot_replace_the_path() -> None:
    headers = {"Url_Path": "model", **RAW}
    assert read_row({"body": bytearray(AUDIO)}, headers).kind == "file"
