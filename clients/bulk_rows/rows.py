"""A row: what became of one entry. Errors are rows too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulk_rows.entries import Entry
from whisper_client.client import Reply, refusal_message
from whisper_client.errors import BadArgument, ClientError, ServerTimeout

SEGMENT_FIELDS = (
    *("start", "end", "text"),
    *("temperature", "avg_logprob", "compression_ratio", "no_speech_prob"),
)
WORD_FIELDS = ("word", "start", "end", "probability")
WORKER_DIED = "worker_died"

Piece = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One entry's transcript or its error; seconds are `duration`, `start` and `end`."""

    id: str
    path: str
    text: str | None = None
    language: str | None = None
    duration: float | None = None
    segments: tuple[Piece, ...] = ()  # SEGMENT_FIELDS
    words: tuple[Piece, ...] = ()  # WORD_FIELDS; empty unless asked for
    model: str | None = None
    error: str | None = None  # one line for a person
    error_code: str | None = None  # None: good
    attempts: int = 0  # requests sent

    @property
    def ok(self) -> bool:
        return self.error_code is None


def row_of_document(entry: Entry, document: Mapping[str, Any], model: str | None, attempts: int) -> Row:
    """The row of a verbose_json answer."""
    try:
        duration = float(document.get("duration") or 0) or None
    except (TypeError, ValueError):
        duration = None
    return Row(
        entry.id,
        entry.path,
        text=document["text"],
        language=document.get("language"),
        duration=duration,
        segments=_pieces(document.get("segments"), SEGMENT_FIELDS),
        words=_pieces(document.get("words"), WORD_FIELDS),
        model=model,
        attempts=attempts,
    )


def row_of_reply(entry: Entry, reply: Reply, model: str | None, attempts: int) -> Row:
    """The row of an answer, good or bad."""
    document = reply.document or {}
    if reply.ok and isinstance(document.get("text"), str):
        return row_of_document(entry, document, model, attempts)
    if reply.ok:
        return error_row(entry, "no_transcript", "the server answered 200 without a text", attempts)
    error = document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    message = refusal_message(reply.status, reply.body)
    return error_row(entry, str(code or f"http_{reply.status}"), message, attempts)


def row_of_failure(entry: Entry, error: ClientError, attempts: int) -> Row:
    """The row of an entry that no server answered, or whose file cannot be read."""
    if isinstance(error, BadArgument):
        code = "unreadable_file"
    else:
        code = "timeout" if isinstance(error, ServerTimeout) else "unreachable"
    return error_row(entry, code, str(error), attempts)


def error_row(entry: Entry, code: str, message: str, attempts: int) -> Row:
    return Row(entry.id, entry.path, error=message, error_code=code, attempts=attempts)


def to_json(row: Row) -> str:
    """One line without its end."""
    return json.dumps({name: getattr(row, name) for name in FIELDS}, ensure_ascii=False)


def from_mapping(fields: Mapping[str, Any]) -> Row:
    """The row of a JSON object or of a table's row; raises KeyError or TypeError for another one."""
    pieces = {name: tuple(fields[name] or ()) for name in ("segments", "words")}
    return Row(**{name: fields[name] for name in FIELDS} | pieces)


FIELDS = tuple(field.name for field in dataclasses.fields(Row))


def _pieces(given: Any, names: tuple[str, ...]) -> tuple[Piece, ...]:
    return tuple(
        {name: piece.get(name) for name in names} for piece in given or () if isinstance(piece, dict)
    )
