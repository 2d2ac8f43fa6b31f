"""An upload and its options → a multipart form with OpenAI's field names.

The form is encoded once and sent as often as needed. Lists are repeated fields for OpenAI-compatible
servers (`timestamp_granularities[]`, as the openai package sends them); TorchServe keeps only the last of
repeated fields, so a TorchServe address gets one field, its values between commas or as a JSON list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urllib3.filepost import encode_multipart_formdata

from whisper_client.errors import BadArgument

LIST_FIELDS = ("timestamp_granularities", "include")  # OpenAI writes these with [] behind the name
SIGNATURES = (  # leading bytes → suffix; OpenAI-compatible servers judge an upload by its name
    (b"RIFF", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
    (b"\xff\xf3", ".mp3"),
    (b"\x1aE\xdf\xa3", ".webm"),
)


@dataclass(frozen=True, slots=True)
class Upload:
    """The bytes of one media file and the name they travel under."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """An encoded multipart body."""

    body: bytes
    content_type: str


def read_upload(audio: str | Path | bytes, name: str | None = None) -> Upload:
    """The upload for a path or for bytes at hand; raises BadArgument where it cannot be read or is empty."""
    if isinstance(audio, (bytes, bytearray)):
        content = bytes(audio)
        upload = Upload(name or f"audio{media_suffix(content)}", content)
    else:
        path = Path(audio)
        try:
            upload = Upload(name or path.name, path.read_bytes())
        except OSError as error:
            raise BadArgument(f"cannot read {path}: {error.strerror or error}") from error
    if not upload.content:
        raise BadArgument(f"{name or (audio if not isinstance(audio, bytes) else 'the audio')} is empty")
    return upload


def media_suffix(content: bytes) -> str:
    """The usual file suffix for these leading bytes, "" where they are not known."""
    if content[4:8] == b"ftyp":
        return ".m4a"
    return next((suffix for magic, suffix in SIGNATURES if content.startswith(magic)), "")


def encode_form(upload: Upload, options: Mapping[str, Any], *, repeat_lists: bool) -> Form:
    """The form for one request; options whose value is None are left out. Raises BadArgument."""
    fields: list[tuple[str, Any]] = []
    for name, value in options.items():
        fields.extend(_option_fields(name, value, repeat_lists))
    # a neutral type: TorchServe hands a part typed text/* or JSON to the handler as text or as a dict
    fields.append(("file", (upload.name, upload.content, "application/octet-stream")))
    body, content_type = encode_multipart_formdata(fields)
    return Form(body, content_type)


def _option_fields(name: str, value: Any, repeat_lists: bool) -> list[tuple[str, str]]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        return [(_field_name(name), _field_text(name, value))]
    texts = [_field_text(name, item) for item in value]
    if not texts:
        return []
    if not repeat_lists:
        has_commas = any("," in text for text in texts)
        joined = json.dumps(texts, ensure_ascii=False) if has_commas else ",".join(texts)
        return [(_field_name(name), joined)]
    listed = name if name.endswith("[]") else f"{name}[]"
    return [(listed, text) for text in texts]


def _field_name(name: str) -> str:
    return f"{name}[]" if name in LIST_FIELDS else name


def _field_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise BadArgument(
        f"option {name} is {type(value).__name__}, must be text, a number, true/false or a list of these"
    )
