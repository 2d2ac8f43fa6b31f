"""Manifests and folders → entries: which files to transcribe, and how."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_rows import places
from whisper_client.audio_files import find_audio
from whisper_client.errors import BadArgument
from whisper_client.references import audio_paths, read_table

OPTION_COLUMNS = ("language", "model", "prompt", "temperature", "task")
MANIFESTS = (".jsonl", ".csv", ".parquet")
ID_CHARS = 20  # 80 bits: two of a billion entries share an id with a probability of 4e-7

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to transcribe. `options` are form fields by OpenAI's names."""

    id: str  # of path and options, so that the same work has the same id in every run
    path: str  # absolute, or an address such as s3://bucket/talk.mp3
    options: Options


@dataclass(frozen=True, slots=True)
class Listing:
    """What a run has to do."""

    entries: tuple[Entry, ...]  # ids are unique
    doubled: int  # lines that repeat an entry before them


def list_entries(sources: Sequence[str], options: Options) -> Listing:
    """The entries of manifests, Kaldi directories, folders and files, in their order; raises BadArgument.

    `options` are those of entries that do not name their own.
    """
    found: dict[str, Entry] = {}
    lines = 0
    for entry in (entry for source in sources for entry in _entries_of(source, options)):
        lines += 1
        found.setdefault(entry.id, entry)
    if not found:
        raise BadArgument(f"nothing to transcribe in {', '.join(sources)}")
    return Listing(tuple(found.values()), lines - len(found))


def entry_for(path: str, options: Options) -> Entry:
    asked = {name: value for name, value in sorted(options.items()) if value is not None}
    content = json.dumps([path, asked], ensure_ascii=False, sort_keys=True)
    return Entry(hashlib.sha256(content.encode()).hexdigest()[:ID_CHARS], path, asked)


def _entries_of(source: str, options: Options) -> Iterator[Entry]:
    if places.split_query(source)[0].lower().endswith(MANIFESTS):
        yield from _manifest(source, options)
    elif places.is_address(source):
        yield from (entry_for(path, options) for path in places.list_media(source))
    elif (Path(source) / "wav.scp").is_file():
        yield from _kaldi(Path(source), options)
    else:
        yield from (entry_for(os.path.abspath(file), options) for file in find_audio([source]))


def _manifest(manifest: str, options: Options) -> Iterator[Entry]:
    for where, line in _lines(manifest):
        path = line.get("path") if isinstance(line, dict) else None
        if not path or not isinstance(path, str):
            raise BadArgument(f"{where}: no path: an entry is an object or a row with a path")
        own = {name: line[name] for name in OPTION_COLUMNS if line.get(name) not in (None, "")}
        more = line.get("options") or {}
        if not isinstance(more, dict):
            raise BadArgument(f"{where}: options is {more!r}, must be an object of form fields")
        yield entry_for(places.beside(manifest, path), {**options, **own, **more})


def _lines(manifest: str) -> Iterator[tuple[str, Any]]:
    """Each line's place and content; raises BadArgument."""
    kind = os.path.splitext(places.split_query(manifest)[0])[1].lower()
    if kind == ".parquet":
        from bulk_rows import row_tables  # needs pyarrow

        with places.open_file(manifest) as file:
            lines: Iterable[tuple[int, Any]] = enumerate(row_tables.read_dicts(file), 1)
            yield from ((f"{manifest}: row {number}", _with_options(line)) for number, line in lines)
        return
    try:
        text = places.read_bytes(manifest).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadArgument(f"cannot read {manifest}: {error}") from error
    if kind == ".csv":
        for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
            yield f"{manifest}:{number}", _with_options(row)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{manifest}:{number}", _parsed(line, f"{manifest}:{number}")


def _with_options(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its column of options as an object; a table holds it as JSON."""
    text = row.get("options")
    return row | {"options": _parsed(text, "options")} if isinstance(text, str) and text else row


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadArgument(f"{where}: not JSON ({error}); wanted is one object a line") from error


def _kaldi(folder: Path, options: Options) -> Iterator[Entry]:
    """The utterances of `wav.scp`; `utt2lang`, where it is there, has their languages."""
    paths = audio_paths(folder / "wav.scp", list(read_table(folder / "wav.scp")))
    languages = read_table(folder / "utt2lang") if (folder / "utt2lang").is_file() else {}
    for name, path in paths.items():
        own = {"language": languages[name]} if languages.get(name) else {}
        yield entry_for(os.path.abspath(path), {**options, **own})
