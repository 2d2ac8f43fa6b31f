"""A multipart body → its fields as text and its uploads as files on disk."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from asr.errors import InvalidOption, UnsupportedMedia
from gateway.api_errors import BadForm
from gateway.http.spool import Spool

MAX_FIELDS = 2_000  # suppress_tokens alone may have a thousand
FORM_ROOM = 1_000_000  # bytes of a form beside its files: names, headers and texts of all parts together
PLAIN_NAME = re.compile(rb";\s*filename\s*=", re.IGNORECASE)
EXTENDED_NAME = re.compile(
    rb""";\s*filename\*\s*=\s*"?(?P<charset>utf-8|iso-8859-1)'[^']*'(?P<name>[^;"\s]*)"?""", re.IGNORECASE
)
CHARSETS = ("utf-8", "utf8", "us-ascii", "iso-8859-1")  # others may be slow: punycode takes quadratic time
FILE_NAMES = ("file", "files", "files[]")
UPLOAD_NAMES = (*FILE_NAMES, "audio_file")
HOW_TO_SEND = "send the audio as a form: curl -F file=@speech.wav"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of the form. The file is gone when the form is closed."""

    field: str
    filename: str  # the client's name for it: text to show, never a path to open
    path: Path


@dataclass(slots=True)
class Form:
    """All parts in the order of the body; a repeated field keeps every value."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)

    def single_upload(self) -> Upload:
        """The one part named `file`; raises BadForm."""
        uploads = self.uploads_named("file")
        if len(uploads) != 1:
            raise BadForm(f"the form has {len(uploads)} parts named file, must have one", param="file")
        return uploads[0]

    def uploads_named(self, *names: str) -> list[Upload]:
        """The uploads; raises BadForm if there is none, or one under a name that is not in `names`."""
        for name in names:
            self._refuse_text(name)
        if odd := next((upload.field for upload in self.uploads if upload.field not in names), None):
            raise BadForm(
                f"the form has a file named {odd[:80]!r}, must be {' or '.join(names)}", param=odd[:80]
            )
        if not self.uploads:
            raise BadForm(f"the form has no file; {HOW_TO_SEND}", param=names[0])
        return self.uploads

    def refuse_fields(self) -> None:
        """Raises BadForm or InvalidOption if the form has more than files."""
        for name in self.fields:
            if name in FILE_NAMES:
                self._refuse_text(name)
            raise InvalidOption(
                f"{name[:80]} is not a field here, send files alone; /v1/audio/transcriptions takes options",
                param=name[:80],
            )

    def _refuse_text(self, name: str) -> None:
        if name in self.fields:
            raise BadForm(
                f"the form has no file: its part {name} has neither a filename nor a Content-Type that tells "
                f"it from text; {HOW_TO_SEND}",
                param=name,
            )


@asynccontextmanager
async def received_form(request: Request, spool_dir: Path | None, max_files: int = 1) -> AsyncIterator[Form]:
    """The request's form, its uploads on disk until the block ends.

    Raises UnsupportedMedia for another content type, BadForm for a body that contradicts its headers or has
    too many parts, Overloaded if the disk is full, and the errors of reading the body.
    """
    boundary, charset = _boundary_and_charset(request)
    parts = _Parts(charset, spool_dir, max_files)
    try:
        await parts.read(request, boundary)
        yield parts.form
    finally:
        parts.close()


def announced_bytes(request: Request) -> int | None:
    """The length of the body; None if it comes in chunks."""
    length = request.headers.get("Content-Length")
    return None if length is None else int(length)


def refuse_encoding(request: Request, what: str) -> None:
    """Raises UnsupportedMedia for a compressed body; `what` it is, for the message."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMedia(
            f"Content-Encoding is {encoding[:80]!r}, must be left out: send the {what} as it is"
        )


def _boundary_and_charset(request: Request) -> tuple[bytes, str]:
    """The boundary and charset in the Content-Type; raises UnsupportedMedia or BadForm."""
    content_type, parameters = parse_options_header(request.headers.get("Content-Type"))
    if content_type != b"multipart/form-data":
        media_type = content_type.decode("latin-1")[:80]
        raise UnsupportedMedia(f"Content-Type is {media_type!r}, must be multipart/form-data; {HOW_TO_SEND}")
    refuse_encoding(request, "form")
    if not parameters.get(b"boundary"):
        raise BadForm(f"Content-Type has no boundary; {HOW_TO_SEND}")
    charset = parameters.get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in CHARSETS:
        raise BadForm(f"the form's charset is {charset[:80]!r}, must be one of {', '.join(CHARSETS)}")
    return parameters[b"boundary"], charset


class _Parts:
    """The form, filled part by part; the methods `_on_…` are the parser's callbacks."""

    def __init__(self, charset: str, spool_dir: Path | None, max_files: int) -> None:
        self.form = Form()
        self._charset = charset
        self._spool_dir = spool_dir
        self._max_files = max_files
        self._room = FORM_ROOM
        self._num_fields = 0
        self._files: list[Spool] = []
        self._unwritten: list[tuple[Spool, bytes]] = []
        self._is_complete = False
        # of the part that is being read
        self._header_name = self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._text = bytearray()
        self._file: Spool | None = None

    async def read(self, request: Request, boundary: bytes) -> None:
        """Reads the whole body; raises BadForm, Overloaded and the errors of reading."""
        try:
            parser = self._parser(boundary)
            async with aclosing(request.stream()) as stream:
                async for chunk in stream:
                    parser.write(chunk)
                    await self._write_files()
        except FormParserError as error:
            raise BadForm("the form cannot be read: a boundary or a part's headers are malformed") from error
        for file in self._files:
            file.flush()
        if not self._is_complete:
            raise BadForm("the form ends before its closing boundary")

    def close(self) -> None:
        """Removes the files."""
        for file in self._files:
            file.close()

    async def _write_files(self) -> None:
        for file, data in self._unwritten:
            await file.write(data)
        self._unwritten.clear()

    def _parser(self, boundary: bytes) -> MultipartParser:
        return MultipartParser(
            boundary,
            {
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._take_room(end - start)
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._take_room(end - start)
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        disposition = _plainly_named(self._headers.get(b"content-disposition", b""))
        disposition = _as_file(disposition, self._headers.get(b"content-type", b"text/plain"))
        _, options = parse_options_header(disposition)
        self._headers, self._text, self._file = {}, bytearray(), None
        if b"name" not in options:
            raise BadForm('a part of the form has no name: its Content-Disposition must have name="…"')
        self._name = self._decoded(options[b"name"])
        if b"filename" in options:
            self._begin_file(self._decoded(options[b"filename"]))
            return
        self._num_fields += 1
        if self._num_fields > MAX_FIELDS:
            raise BadForm(f"the form has more than {MAX_FIELDS} fields")

    def _begin_file(self, filename: str) -> None:
        name = self._name[:80]
        if len(self.form.uploads) == self._max_files:
            raise BadForm(f"{name} is one file too many, the form may have {self._max_files}", param=name)
        self._file = Spool(self._spool_dir)
        self._files.append(self._file)
        self.form.uploads.append(Upload(self._name, filename, self._file.path))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._unwritten.append((self._file, data[start:end]))
            return
        self._take_room(end - start)
        self._text += data[start:end]

    def _on_part_end(self) -> None:
        if self._file is None:
            self.form.fields.setdefault(self._name, []).append(self._decoded(self._text))

    def _on_end(self) -> None:
        self._is_complete = True

    def _take_room(self, num_bytes: int) -> None:
        self._room -= num_bytes
        if self._room < 0:
            raise BadForm(f"the form has more than {FORM_ROOM} bytes beside its files")

    def _decoded(self, raw: bytes | bytearray) -> str:
        try:
            return raw.decode(self._charset)
        except UnicodeDecodeError:
            return raw.decode("latin-1")


def _as_file(disposition: bytes, content_type: bytes) -> bytes:
    """Content-Disposition with an empty filename added if its name and Content-Type say that the part is an
    upload: forms made by hand often lack the filename."""
    _, options = parse_options_header(disposition)
    is_text = content_type.strip().lower().startswith(b"text/")
    is_upload = options.get(b"name", b"").decode("latin-1") in UPLOAD_NAMES and not is_text
    return disposition + b'; filename=""' if is_upload and b"filename" not in options else disposition


def _plainly_named(disposition: bytes) -> bytes:
    """Content-Disposition with `filename="…"` in place of `filename*=UTF-8''…`. RFC 7578 forbids the latter
    in forms, but urllib3 before version 2 sends nothing else for a name beyond ASCII, and the file would
    pass for text."""
    match = EXTENDED_NAME.search(disposition)
    if match is None or PLAIN_NAME.search(disposition):
        return disposition
    name = unquote_to_bytes(match["name"]).decode(match["charset"].decode(), "replace").encode()
    quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return disposition[: match.start()] + b'; filename="' + quoted + b'"' + disposition[match.end() :]
