"""A multipart body → its fields as text and its uploads as files on disk, whatever their size."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from asr.errors import InvalidOption, Overloaded, UnsupportedMedia
from gateway.errors import BadForm

MAX_FIELDS = 2_000  # suppress_tokens alone may be a thousand
MAX_FIELD_BYTES = 1_000_000
SMALL_BYTES = 1_000_000  # of an upload: half a minute of 16 kHz WAV, dealt with on the event loop
PLAIN_NAME = re.compile(rb";\s*filename\s*=", re.IGNORECASE)
EXTENDED_NAME = re.compile(
    rb""";\s*filename\*\s*=\s*"?(?P<charset>utf-8|iso-8859-1)'[^']*'(?P<name>[^;"\s]*)"?""", re.IGNORECASE
)
FILE_NAMES = ("file", "files", "files[]")
UPLOAD_NAMES = (*FILE_NAMES, "audio_file")
HOW_TO_SEND = "send the audio as a form: curl -F file=@speech.wav"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of the form. The file is gone when the form is closed."""

    field: str
    filename: str  # as the client called it: text to show, never a path to open
    path: Path


@dataclass(slots=True)
class Form:
    """All parts in the order they came; a repeated field keeps every value."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)

    def single_upload(self) -> Upload:
        """The one part named `file`; raises BadForm."""
        uploads = self.uploads_named("file")
        if len(uploads) != 1:
            raise BadForm(f"the form has {len(uploads)} parts named file, must have one", param="file")
        return uploads[0]

    def uploads_named(self, *names: str) -> list[Upload]:
        """The uploads under these names; raises BadForm where there is none, or one under another name."""
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
        """Raises BadForm or InvalidOption where the form has more than files."""
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

    Raises UnsupportedMedia for another content type, BadForm for a body that is not what its headers say,
    and whatever reading the body raises.
    """
    _check_content_type(request)
    parser = await _parsed(request, spool_dir, max_files)
    try:
        form = Form()
        for name, value in parser.items:
            if isinstance(value, UploadFile):
                form.uploads.append(Upload(name, value.filename or "", Path(value.file.name)))
            else:
                form.fields.setdefault(name, []).append(value)
        yield form
    finally:
        parser.close()


def announced_bytes(request: Request) -> int | None:
    """The length of the body; None where it comes in chunks."""
    length = request.headers.get("Content-Length")
    return None if length is None else int(length)


async def _parsed(request: Request, spool_dir: Path | None, max_files: int) -> _DiskParser:
    async with aclosing(request.stream()) as stream:
        parser = _DiskParser(
            request.headers, stream, max_files=max_files, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
        )
        parser.spool_dir = spool_dir
        try:
            await parser.parse()
            if not parser.ended:
                raise BadForm("the form ends before its closing boundary")
        except BaseException as error:
            parser.close()
            raise _as_refusal(error, parser) from error
    return parser


def _check_content_type(request: Request) -> None:
    content_type, _ = parse_options_header(request.headers.get("Content-Type"))
    if content_type != b"multipart/form-data":
        shown = content_type.decode("latin-1")[:80]
        raise UnsupportedMedia(f"Content-Type is {shown!r}, must be multipart/form-data; {HOW_TO_SEND}")
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMedia(
            f"Content-Encoding is {encoding[:80]!r}, must be left out: send the form as it is"
        )


def _as_refusal(error: BaseException, parser: _DiskParser) -> BaseException:
    if isinstance(error, MultiPartException):
        if "files" not in error.message:
            return BadForm(error.message)
        name = parser.part_name[:80]
        return BadForm(f"{name} is one file too many, the form may have {parser.max_files:g}", param=name)
    if isinstance(error, ValueError | LookupError):  # a charset or boundary that Python cannot work with
        return BadForm("the form cannot be read; its boundary or charset is unusable")
    if isinstance(error, OSError):
        return Overloaded("the server has no room for this upload; try again later")
    return error


class _DiskUpload(UploadFile):
    """A file part whose first bytes are written at once: they go to the system's cache, and a thread for them
    takes longer than they do. What comes after `SMALL_BYTES` is written beside the event loop."""

    async def write(self, data: bytes) -> None:
        assert self.size is not None
        if self.size + len(data) > SMALL_BYTES:
            await super().write(data)
            return
        self.size += len(data)
        self.file.write(data)

    async def seek(self, offset: int) -> None:
        self.file.seek(offset)  # writes what is left in Python's buffer, a few kilobytes


class _DiskParser(MultiPartParser):
    """Starlette's parser with named files for the uploads, which another process can open."""

    spool_dir: Path | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ended = False
        self._opened: list[IO[bytes]] = []

    def on_headers_finished(self) -> None:
        part = self._current_part
        part.content_disposition = _as_file(_plainly_named(part.content_disposition), part.item_headers)
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:
            upload.file.close()
            file = tempfile.NamedTemporaryFile(prefix="upload-", dir=self.spool_dir)  # noqa: SIM115
            self._current_part.file = _DiskUpload(file, size=0, filename=upload.filename)  # type: ignore[arg-type]
            self._opened.append(file)

    def on_end(self) -> None:
        self.ended = True

    @property
    def part_name(self) -> str:
        """Of the part that is being read."""
        return self._current_part.field_name

    def close(self) -> None:
        """Removes the files."""
        for file in self._opened:
            file.close()


def _as_file(disposition: bytes | None, headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The header with an empty filename where it has none but the name and Content-Type of an upload: forms
    made by hand often lack it."""
    kind = dict(headers).get(b"content-type", b"text/plain").strip().lower()
    _, options = parse_options_header(disposition)
    is_upload = options.get(b"name", b"").decode("latin-1") in UPLOAD_NAMES and not kind.startswith(b"text/")
    if disposition is None or not is_upload or b"filename" in options:
        return disposition
    return disposition + b'; filename=""'


def _plainly_named(disposition: bytes | None) -> bytes | None:
    """The header with `filename="…"` for `filename*=UTF-8''…`. Forms must not have the latter (RFC 7578), but
    urllib3 before version 2 sends nothing else for a name beyond ASCII, and the file would pass for text."""
    found = EXTENDED_NAME.search(disposition or b"")
    if disposition is None or found is None or PLAIN_NAME.search(disposition):
        return disposition
    name = unquote_to_bytes(found["name"]).decode(found["charset"].decode(), "replace").encode()
    quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return disposition[: found.start()] + b'; filename="' + quoted + b'"' + disposition[found.end() :]
