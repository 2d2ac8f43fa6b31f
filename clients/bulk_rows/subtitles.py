"""A row → its files beside the rows: srt, vtt, txt."""

from __future__ import annotations

from bulk_rows import places
from bulk_rows.rows import Row
from whisper_client import captions

FORMATS = ("srt", "vtt", "txt")


def file_name(row: Row, kind: str) -> str:
    """`talk-1a2b….srt`: with the id, because files of several folders may share a name."""
    stem = places.name_of(row.path).rpartition(".")[0] or places.name_of(row.path)
    return f"{stem}-{row.id}.{kind}"


def file_text(row: Row, kind: str) -> str:
    """The content of a good row's file."""
    if kind == "txt":
        return f"{row.text}\n"
    cues = [captions.Cue(1000 * piece["start"], 1000 * piece["end"], piece["text"]) for piece in row.segments]
    return captions.srt(cues) if kind == "srt" else captions.vtt(cues)
