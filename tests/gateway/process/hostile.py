"""Requests that no well-meaning client sends, byte for byte, and how each may be answered."""

from __future__ import annotations

REFUSED = frozenset({400})
CLIENT_ERROR = frozenset(range(400, 500))
ANY = frozenset({200, 204, 307}) | CLIENT_ERROR

Case = tuple[bytes, frozenset[int]]


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request on a connection that ends with it."""
    head = "\r\n".join([line, "Host: here", "Connection: close", *headers, "", ""])
    return head.encode("latin-1") + body


def post(*headers: str, body: bytes = b"", path: str = "/v1/audio/transcriptions") -> bytes:
    return request(f"POST {path} HTTP/1.1", *headers, body=body)


FORM = "Content-Type: multipart/form-data; boundary="
FILE = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'  # the start of a form


def chunked(body: bytes) -> bytes:
    """A form that arrives in chunks: its first one is well-formed, the rest is `body`."""
    return post("Transfer-Encoding: chunked", FORM + "X", body=chunk(FILE) + body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def upload(content: bytes) -> bytes:
    """A well-formed request with one file."""
    body = FILE + content + b"\r\n--X--\r\n"
    return post(FORM + "X", f"Content-Length: {len(body)}", body=body)


SYNTAX: dict[str, Case] = {
    "binary": (bytes(range(256)) + b"\r\n\r\n", REFUSED),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, REFUSED),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    "unknown version": (request("GET / HTTP/9.9"), REFUSED),
    "no version": (b"GET /\r\n\r\n", ANY),
    "method with a sign": (request("G@T / HTTP/1.1"), REFUSED),
    "unknown method": (request("BREW / HTTP/1.1"), CLIENT_ERROR),
    "lower-case method": (request("get / HTTP/1.1"), REFUSED),
    "header without colon": (request("GET / HTTP/1.1", "nonsense"), REFUSED),
    "space before colon": (request("GET / HTTP/1.1", "Accept : x"), REFUSED),
    "NUL in a header": (request("GET / HTTP/1.1", "A: b\x00c"), REFUSED),
    "NUL in a name": (request("GET / HTTP/1.1", "A\x00: b"), REFUSED),
    "folded header": (request("GET / HTTP/1.1", "A: b", "  c"), ANY),
    "empty name": (request("GET / HTTP/1.1", ": b"), REFUSED),
    "bytes above ASCII in a header": (request("GET / HTTP/1.1", "A: \xff\xfe"), ANY),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\nConnection: close\n\n", ANY),
    "leading blank lines": (b"\r\n\r\n\r\n" + request("GET /health/live HTTP/1.1"), frozenset({200})),
    "HTTP/1.0": (b"GET /health/live HTTP/1.0\r\n\r\n", frozenset({200})),
    "no Host": (b"GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n", ANY),
    "two Hosts": (request("GET /health/live HTTP/1.1", "Host: there"), ANY),
    "unknown expectation": (post("Expect: 200-maybe", "Content-Length: 0"), CLIENT_ERROR),
    "TRACE": (request("TRACE /v1/models HTTP/1.1"), CLIENT_ERROR),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", CLIENT_ERROR),
    "OPTIONS *": (request("OPTIONS * HTTP/1.1"), CLIENT_ERROR),
    "upgrade to a websocket": (
        request("GET /v1/models HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"), ANY,
    ),
    "upgrade to HTTP/2": (
        request("GET /v1/models HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAAQAAP__"), ANY,
    ),
    "a megabyte of header": (request("GET / HTTP/1.1", "A: " + "x" * 1_000_000), frozenset({431})),
    "a megabyte of path": (request(f"GET /{'x' * 1_000_000} HTTP/1.1"), frozenset({431})),
    "a megabyte of method": (b"G" * 1_000_000, REFUSED | {431}),
    "ten thousand headers": (
        request("GET / HTTP/1.1", *(f"A{i}: {'x' * 100}" for i in range(10_000))), frozenset({431}),
    ),
}  # fmt: skip

LENGTHS: dict[str, Case] = {
    "not a number": (post("Content-Length: abc"), REFUSED),
    "negative": (post("Content-Length: -1"), REFUSED),
    "with a sign": (post("Content-Length: +5", body=b"hello"), REFUSED),
    "hexadecimal": (post("Content-Length: 0x5", body=b"hello"), REFUSED),
    "beyond 64 bits": (post("Content-Length: 99999999999999999999999"), REFUSED),
    "at 64 bits": (post("Content-Length: 18446744073709551615"), frozenset({400, 413})),
    "a terabyte": (post("Content-Length: 1099511627776"), frozenset({413})),
    "two that differ": (post("Content-Length: 5", "Content-Length: 6", body=b"hello"), REFUSED),
    "a list": (post("Content-Length: 5, 6", body=b"hello"), REFUSED),
    "length and chunks": (
        post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), REFUSED,
    ),
    "chunks, then identity": (post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), REFUSED),
    "unknown encoding": (post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), CLIENT_ERROR),
    "too short a body": (post("Content-Length: 1000", FORM + "X", body=FILE), frozenset({408})),
}  # fmt: skip

CHUNKS: dict[str, Case] = {
    "size is no number": (chunked(b"zz\r\nabc\r\n0\r\n\r\n"), REFUSED),
    "size is negative": (chunked(b"-1\r\nabc\r\n0\r\n\r\n"), REFUSED),
    "size beyond 64 bits": (chunked(b"fffffffffffffffff\r\nabc"), REFUSED),
    "huge size": (chunked(b"ffffffffffff\r\nabc"), frozenset({408})),
    "no line end after the data": (chunked(b"3\r\nabcXX0\r\n\r\n"), REFUSED),
    "cut in the size": (chunked(b"3"), frozenset({408})),
    "cut in the data": (chunked(b"a\r\nabc"), frozenset({408})),
    "cut before the end": (chunked(b"3\r\nabc\r\n"), frozenset({408})),
    "extension": (chunked(b'3;name="value"\r\nabc\r\n0\r\n\r\n'), CLIENT_ERROR),
    "endless extension": (chunked(b"3;" + b"x" * 300_000), CLIENT_ERROR),
    "a megabyte of trailers": (
        chunked(b"3\r\nabc\r\n0\r\n" + b"".join(b"T%d: %s\r\n" % (i, b"x" * 100) for i in range(10_000))),
        CLIENT_ERROR,
    ),
    "single bytes": (chunked(b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n"), CLIENT_ERROR),
}  # fmt: skip

PATHS = (
    "//", "///", "//etc/passwd", "/./", "/../", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
    "/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/..%5c..%5cetc", "/page/../../README.md",
    "/page/%2e%2e/%2e%2e/README.md", "/page/..%2f..%2fREADME.md", "/page/%252e%252e/README.md",
    "/page//etc/passwd", "/page/%00", "/page/app.js%00.css", "/page/", "/page/.", "/page/..",
    "/page/\\..\\..\\README.md", "/%00", "/%ff", "/%", "/%zz", "/%c0%ae%c0%ae/", "/\u00e9",
    "/v1//models", "/v1/models/", "/v1/models/%2e%2e", "/v1/models/..%2f..", "/v1/models/%00",
    "/v1/models/" + "x" * 10_000, "/v1/audio/transcriptions/../../models", "/V1/MODELS",
    "/?" + "a=b&" * 10_000, "http://evil.example/health/live", "http://evil.example/../../etc/passwd",
    "//evil.example/%2f..", "/;x=y", "/health/live;x", "/health/live%20", "/health/live#x", "*",
    "evil.example:443", "\\", "/\u007f",
)  # fmt: skip


def form(body: bytes, boundary: str = "X") -> bytes:
    return post(FORM + boundary, f"Content-Length: {len(body)}", body=body)


def part(name: str, value: bytes, *, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'--X\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode("latin-1", "replace") + value + b"\r\n"


FORMS: dict[str, Case] = {
    "no boundary": (form(b"--X--\r\n", ""), REFUSED),
    "a boundary of 10 kB": (form(b"--X--\r\n", "b" * 10_000), CLIENT_ERROR),
    "no part": (form(b"--X--\r\n"), REFUSED),
    "nothing": (form(b""), REFUSED),
    "other boundary": (form(b"--Y\r\n\r\n--Y--\r\n"), CLIENT_ERROR),
    "cut in a part": (form(part("file", b"RIFF", filename="a.wav")), CLIENT_ERROR),
    "ten thousand fields": (form(part("prompt", b"x") * 10_000 + b"--X--\r\n"), CLIENT_ERROR),
    "a hundred thousand part headers": (
        form(b"--X\r\n" + b"A: b\r\n" * 100_000 + b"\r\n\r\n--X--\r\n"), CLIENT_ERROR,
    ),
    "file name with a path": (
        form(part("file", b"RIFF", filename="../../../../tmp/owned") + b"--X--\r\n"), CLIENT_ERROR,
    ),
    "file name with NUL": (form(part("file", b"RIFF", filename="a\x00b") + b"--X--\r\n"), CLIENT_ERROR),
    "not audio": (form(part("file", b"\x00" * 100_000, filename="a.wav") + b"--X--\r\n"), CLIENT_ERROR),
    "JSON that is none": (
        post("Content-Type: application/json", "Content-Length: 7", body=b"{\"a\":[["), CLIENT_ERROR,
    ),
    "JSON a thousand deep": (
        post("Content-Type: application/json", "Content-Length: 100000", body=b"[" * 100_000), CLIENT_ERROR,
    ),
    "compressed": (
        post("Content-Encoding: gzip", FORM + "X", "Content-Length: 2", body=b"\x1f\x8b"), CLIENT_ERROR,
    ),
    "key with NUL": (post("Authorization: Bearer \xff\xfe", "Content-Length: 0"), CLIENT_ERROR),
    "a type of noise": (post("Content-Type: \xff/\xff", "Content-Length: 3", body=b"abc"), CLIENT_ERROR),
    "a charset that nobody knows": (
        post("Content-Type: multipart/form-data; charset=utf-99; boundary=X", "Content-Length: 7",
             body=b"--X--\r\n"), CLIENT_ERROR,
    ),
    "a deadline of noise": (post("X-Request-Deadline: 1e999", "Content-Length: 0"), CLIENT_ERROR),
}  # fmt: skip


def all_cases() -> dict[str, Case]:
    """By name: the bytes to send and the statuses that may come back."""
    groups = {"syntax": SYNTAX, "length": LENGTHS, "chunks": CHUNKS, "form": FORMS}
    cases = {f"{group}: {name}": case for group, named in groups.items() for name, case in named.items()}
    for path in PATHS:
        name = path if len(path) < 50 else path[:20] + "…"
        cases[f"path: {name!r}"] = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(),
            ANY,
        )
    return cases
