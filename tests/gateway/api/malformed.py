"""Malformed requests, each with the statuses that are right for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from tests.asr.containers import tone, wav
from tests.gateway.api.conftest import WHOLE

AUDIO = wav(tone(0.5))
BOUNDARY = b"xYzZY"


@dataclass(frozen=True)
class Case:
    """A body by hand, and the statuses that are right for it."""

    name: str
    body: bytes
    statuses: tuple[int, ...]
    content_type: str | None = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    headers: tuple[tuple[str, str], ...] = ()


def part(disposition: bytes, content: bytes, *headers: bytes) -> bytes:
    lines = [b"Content-Disposition: " + disposition, *headers]
    return b"--" + BOUNDARY + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + content + b"\r\n"


def text(name: str, value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return part(b'form-data; name="' + name.encode() + b'"', raw)


def file(content: bytes = AUDIO, name: bytes = b"file", filename: bytes = b"a.wav") -> bytes:
    return part(b'form-data; name="' + name + b'"; filename="' + filename + b'"', content)


END = b"--" + BOUNDARY + b"--\r\n"
PLAIN = b"".join(text(name, value) for name, value in WHOLE.items())
GOOD = PLAIN + file() + END


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + PLAIN + file() + END


def values() -> Iterator[Case]:
    """One field with a value that is not its own."""
    bad = {
        "temperature": [
            "NaN",
            "inf",
            "-inf",
            "1e309",
            "-1",
            "2",
            "abc",
            "0x1",
            "1_0",
            "٠.٥",
            "0,1,x",
            "--1",
            "true",
        ],
        "language": ["xx", "english language", "e" * 5000, "\u202een", "en\x00fr\x00", "../../etc", "12"],
        "response_format": ["JSON", "xml", "diarized_json", "json ", "json\x00", "vtt,srt"],
        "stream": ["maybe", "2", "null", "[true]", "tru\u0435"],
        "timestamp_granularities[]": ["words", "segment\x00", "{}", "[[]]"],
        "include[]": ["logprob", "item.input_audio_transcription.logprobs", "{}"],
        "chunking_strategy": [
            "manual",
            "{",
            "[]",
            '{"type":"server_vad","threshold":"NaN"}',
            '{"type":"server_vad","threshold":1e309}',
            '{"type":"server_vad","x":1}',
            "{" * 10_000,
            '{"type":{"type":"server_vad"}}',
            "null",
        ],
        "prompt": ["x" * 4_001, "नमस्ते" * 2_000],
        "keywords[]": ["x" * 101, ",".join("abcdefghij" * 20)],
        "beam_size": ["0", "11", "5.5", "1e1", "five", "９"],
        "suppress_tokens": ["-2", "99999", "1," * 2_000],
        "clip_timestamps": ["5,1", "-1", "inf"],
        "max_tokens": ["0", "449", "-1"],
        "vad_threshold": ["1.1", "nan"],
        "long_form": ["serial", "Parallel"],
        "task": ["diarize", "detect_language"],
    }
    for name, spellings in bad.items():
        for value in spellings:
            yield Case(f"{name}={value[:40]!r} of {len(value)}", form(text(name, value)), (400,))


def prompts() -> Iterator[Case]:
    """Text that is odd, and text all the same."""
    for value in (
        "\x00",
        "a\x00b",
        "\u202eright to left\u202c",
        "🎧👩‍👩‍👧‍👦🇮🇳",
        "\ufeff",
        "क्ष\u200d",
        "\r\n\r\n--x",
        "'; DROP TABLE keys; --",
        "{{7*7}}${7*7}",
        "\ud7ff\uffff",
    ):
        yield Case(f"prompt={value[:20]!r}", form(text("prompt", value)), (200,))
    yield Case("a special token", form(text("prompt", "<|startoftranscript|>")), (400,))
    yield Case("prompt in no encoding", form(text("prompt", b"\xff\xfe\x80")), (200,))


def fields() -> Iterator[Case]:
    """Names that are unknown, doubled or many."""
    for name in (
        "Prompt",
        "file[]",
        "promt",
        "known_speaker_names[]",
        "known_speaker_references[]",
        "",
        "a" * 9_000,
        "__proto__",
        "prompt[]",
        "language[en]",
        "chunking_strategy[type][x]",
        "..",
        "\u202eprompt",
        "files",
    ):
        yield Case(f"field {name[:20]!r}", form(text(name, "x")), (400,))
    for name in ("prompt", "temperature_increment_on_fallback", "response_format", "model", "beam_size"):
        yield Case(f"{name} twice", form(text(name, "1"), text(name, "1")), (400, 404))
    yield Case("an alias beside its name", form(text("prompt", "a"), text("initial_prompt", "b")), (400,))
    yield Case(
        "chunking_strategy whole and in parts",
        form(text("chunking_strategy", "auto"), text("chunking_strategy[type]", "server_vad")),
        (400,),
    )
    yield Case("10,000 fields", form(*[text(f"f{i}", "x") for i in range(10_000)]), (400,))
    yield Case("10,000 times one field", form(*[text("keywords[]", "x")] * 10_000), (400,))
    yield Case("a field of 2 MB", form(text("prompt", b"x" * 2_000_000)), (400,))
    yield Case("both spellings", form(text("keywords", "a"), text("keywords[]", "b")), (200,))
    yield Case("no model", form(), (200,))
    for name in ("model", "temperature", "response_format", "stream", "max_tokens", "language", "include[]"):
        yield Case(f"an empty {name}", form(text(name, ""), text(name, " ")), (200,))
    yield Case("an empty value beside one", form(text("task", ""), text("task", "translate")), (200,))
    yield Case("an index", form(text("keywords[0]", "a"), text("keywords[1]", "b")), (200,))
    yield Case("an index of a single value", form(text("language[0]", "en")), (400,))
    yield Case("a huge index", form(text("keywords[99999999]", "a")), (400,))
    yield Case("a model by path", form(text("model", "../../demo.pt")), (404,))
    yield Case("a model with NUL", form(text("model", "whisper-1\x00")), (400, 404))
    yield Case("a very long model", form(text("model", "m" * 100_000)), (400, 404))


def files() -> Iterator[Case]:
    """Uploads under wrong names, several, none."""
    yield Case("no file", PLAIN + END, (400,))
    yield Case("nothing at all", END, (400,))
    yield Case("file twice", form(file()), (400,))
    yield Case("file as text", PLAIN + text("file", "RIFF") + END, (400,))
    nameless = b'form-data; name="file"'
    for kind in (b"audio/wav", b"application/octet-stream", b"Audio/X"):
        sent = part(nameless, AUDIO, b"Content-Type: " + kind)
        yield Case(f"file without a name, {kind.decode()}", PLAIN + sent + END, (200,))
    sent = part(nameless, AUDIO, b"Content-Type: text/plain")
    yield Case("file without a name, as text", PLAIN + sent + END, (400,))
    yield Case(
        "a field that is no text", form(part(b'form-data; name="task"', b"", b"Content-Type: a/b")), (200,)
    )
    yield Case("file as file and text", form(text("file", "x")), (400,))
    yield Case("file called audio", PLAIN + file(name=b"audio") + END, (400,))
    yield Case("file in another case", PLAIN + file(name=b"File") + END, (400,))
    yield Case("a field sent as a file", form(file(b"x", name=b"prompt")), (400,))
    yield Case("an empty file", PLAIN + file(b"") + END, (400,))
    yield Case("no file chosen", PLAIN + file(b"", filename=b"") + END, (400,))
    yield Case("one byte", PLAIN + file(b"R") + END, (415,))
    yield Case("text", PLAIN + file(b"hello " * 1_000) + END, (415,))
    yield Case("a header alone", PLAIN + file(AUDIO[:44]) + END, (400, 415))
    yield Case("half a header", PLAIN + file(AUDIO[:20]) + END, (400, 415))
    yield Case(
        "a playlist", PLAIN + file(b"#EXTM3U\nhttp://127.0.0.1/x.wav\n", filename=b"a.m3u8") + END, (415,)
    )
    yield Case("a concat script", PLAIN + file(b"ffconcat version 1.0\nfile /etc/passwd\n") + END, (415,))
    yield Case("zeros", PLAIN + file(bytes(100_000)) + END, (400, 415))
    for name in (
        b"../../../etc/passwd",
        b"/dev/null",
        b"C:\\\\x.wav",
        "नमस्ते.wav".encode(),
        b"\xff\xfe.wav",
        b"a" * 3_000,
        b".",
        b"..",
        b"",
        b"a\x00.wav",
        b'a\\".wav',
        b"; rm -rf ~",
    ):
        yield Case(f"filename {name[:20]!r}", PLAIN + file(filename=name) + END, (200, 400))


def bodies() -> Iterator[Case]:
    """Multipart that is broken, and bodies that are something else."""
    kind = "multipart/form-data; boundary="
    yield Case("no boundary", GOOD, (400,), "multipart/form-data")
    yield Case("an empty boundary", GOOD, (400,), kind)
    yield Case("another boundary", GOOD, (400,), kind + "other")
    yield Case("a long boundary", GOOD, (400,), kind + "b" * 300)
    yield Case("a quoted boundary", GOOD, (200,), f'{kind}"{BOUNDARY.decode()}"')
    yield Case("an unclosed quote", GOOD, (200, 400), f'{kind}"{BOUNDARY.decode()}')
    yield Case("two boundaries", GOOD, (200, 400), f"{kind}other; boundary={BOUNDARY.decode()}")
    for charset in ("utf-16", "zip", "idna", "nonsense", "rot13", "utf-7", "punycode", "unicode_escape"):
        yield Case(f"charset {charset}", GOOD, (400,), f"{kind}{BOUNDARY.decode()}; charset={charset}")
    for charset in ("utf-8", "UTF8", '"utf-8"', "iso-8859-1"):
        yield Case(f"charset {charset}", GOOD, (200,), f"{kind}{BOUNDARY.decode()}; charset={charset}")
    yield Case("an empty body", b"", (400,))
    yield Case("cut in a header", GOOD[:20], (400,))
    yield Case("cut in the audio", GOOD[: len(GOOD) // 2], (400,))
    yield Case("cut before the end", GOOD[: -len(END)], (400,))
    yield Case("cut in the end", GOOD[:-3], (200, 400))
    yield Case("text behind the end", GOOD + b"epilogue", (200,))
    yield Case("text before the start", b"preamble\r\n" + GOOD, (200, 400))
    yield Case("line feeds alone", GOOD.replace(b"\r\n", b"\n"), (200, 400))
    yield Case("no blank line", GOOD.replace(b"\r\n\r\n", b"\r\n", 1), (400,))
    yield Case("no disposition", PLAIN + b"--" + BOUNDARY + b"\r\nX: y\r\n\r\nz\r\n" + END, (400,))
    yield Case("no name", PLAIN + part(b"form-data", b"x") + END, (400,))
    yield Case("another disposition", PLAIN + part(b'attachment; name="x"', b"x") + END, (400,))
    yield Case(
        "a huge header", form(part(b'form-data; name="prompt"', b"x", b"X: " + b"y" * 100_000)), (200, 400)
    )
    yield Case("many headers", form(part(b'form-data; name="prompt"', b"x", *[b"X: y"] * 5_000)), (200, 400))
    yield Case("a header without colon", form(part(b'form-data; name="prompt"', b"x", b"colonless")), (400,))
    yield Case("NUL in a header", form(part(b'form-data; name="pro\x00mpt"', b"x")), (400,))
    yield Case(
        "base64 announced",
        form(part(b'form-data; name="prompt"', b"eA==", b"Content-Transfer-Encoding: base64")),
        (200,),
    )
    yield Case(
        "nested multipart",
        form(part(b'form-data; name="x"', b"--in", b"Content-Type: multipart/mixed; boundary=in")),
        (400,),
    )
    for content_type in (
        None,
        "",
        "audio/wav",
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/mixed; boundary=xYzZY",
        "multipart",
        ";;;",
        "application/octet-stream",
        "\u00ff/\u00ff",
    ):
        yield Case(f"content type {content_type!r}", GOOD, (415,), content_type)
    json_type = "application/json"
    yield Case("a form called JSON", GOOD, (400,), json_type)
    yield Case("JSON", json.dumps({"file": "UklGRg==", "model": "whisper-1"}).encode(), (415,), json_type)
    for value in (None, [], "x", {}, {"audio": None}, {"audio": 5}, {"audio": ""}, {"audio": "%%%"}):
        yield Case(f"JSON {value!r}", json.dumps(value).encode(), (400,), json_type)
    for cut in (b"", b"{", b'{"audio": "UklG', b"\xff\xfe{", b"[" * 100_000, b'{"a":' * 10_000):
        yield Case(f"JSON {cut[:16]!r}", cut, (400,), json_type)
    for encoding in ("gzip", "br", "deflate"):
        yield Case(f"{encoding} announced", GOOD, (200, 400, 415), headers=(("Content-Encoding", encoding),))
    for name, value in (
        ("X-Request-Deadline", "never"),
        ("X-Request-Deadline", "-5"),
        ("X-Request-Deadline", "1e999"),
    ):
        yield Case(f"{name}: {value}", GOOD, (400,), headers=((name, value),))
    for header in (
        ("X-Request-ID", "a b\u00ffc" * 50),
        ("Accept", "image/png"),
        ("Range", "bytes=0-"),
        ("Authorization", "Bearer \u00ff"),
        ("Authorization", "Basic eDp5"),
        ("Host", "evil.example"),
        ("X-Forwarded-For", "1.2.3.4, ::1, <script>"),
        ("Cookie", "x" * 4_000),
        ("If-Match", "*"),
    ):
        yield Case(f"{header[0]}: {header[1][:12]!r}", GOOD, (200,), headers=(header,))


PATHS = [
    "/v1/audio/transcriptions/../../../etc/passwd",
    "/v1/audio/%2e%2e/%2e%2e/etc/passwd",
    "/v1/audio/transcriptions%00",
    "/v1//audio/transcriptions",
    "//v1/audio/transcriptions",
    "/V1/audio/transcriptions",
    "/v1/audio/transcriptions;x=y",
    "/page/../../gateway/settings.py",
    "/page/%2e%2e/%2e%2e/config/gateway.yaml",
    "/page/..%2f..%2fetc%2fpasswd",
    "/v1/models/../../etc/passwd",
    "/v1/models/" + "a" * 5_000,
    "/v1/models/%00",
    "/v1/models/\u202e",
    "/predictions/whisper",
]
CASES = [*values(), *prompts(), *fields(), *files(), *bodies()]
