"""Recordings with their reference texts: a manifest of JSON lines, or Kaldi's pair `wav.scp` and `text`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_client.errors import BadArgument


@dataclass(frozen=True, slots=True)
class Reference:
    """One recording and what is said in it; an empty `text` means that nobody speaks."""

    name: str  # the manifest's path or Kaldi's utterance id
    audio: Path
    text: str
    language: str = ""  # ISO code; empty: none, or not known
    kind: str = ""  # read, telephone, noisy, …
    seconds: float | None = None  # None: not known
    is_derived: bool = False  # made from another recording by a codec, by noise or by joining
    confidence: str = "high"  # that the text is what is said: high, medium or low


def read_references(path: Path, language: str = "", *, needs_audio: bool = True) -> list[Reference]:
    """The recordings of a manifest or of a directory with `wav.scp` and `text`; raises BadArgument.

    `language` is that of the recordings that do not name theirs. A Kaldi directory may have `utt2lang` and
    `utt2dur` (seconds) beside the pair, and needs no `wav.scp` where finished transcripts are scored.
    """
    if not path.is_dir():
        return _some(_manifest_references(path, language), path)
    if not (path / "text").is_file():
        raise BadArgument(f"{path} holds no file `text`: give a folder with wav.scp and text")
    return read_pair(path / "wav.scp", path / "text", language, needs_audio=needs_audio)


def read_pair(wav_scp: Path, text: Path, language: str = "", *, needs_audio: bool = True) -> list[Reference]:
    """The recordings of these two files; `utt2lang` and `utt2dur` lie beside `text`. Raises BadArgument."""
    return _some(_kaldi_references(wav_scp, text, language, needs_audio), text)


def _some(found: list[Reference], path: Path) -> list[Reference]:
    if not found:
        raise BadArgument(f"{path} holds no recording")
    return found


def _manifest_references(manifest: Path, language: str) -> list[Reference]:
    found: dict[str, Reference] = {}
    for number, line in enumerate(_lines(manifest), 1):
        if not line.strip():
            continue
        where = f"{manifest}:{number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise BadArgument(f"{where}: not JSON ({error}); wanted is one object a line") from error
        reference = _manifest_reference(entry, manifest.parent, language, where)
        if found.setdefault(reference.name, reference).text != reference.text:
            raise BadArgument(f"{where}: {reference.name} is there twice, with another text")
    return list(found.values())


def _manifest_reference(entry: Any, folder: Path, language: str, where: str) -> Reference:
    for key in ("path", "text"):
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
            raise BadArgument(f"{where}: no string {key!r}: a line needs path and text")
    seconds = entry.get("seconds")
    if seconds is not None and not isinstance(seconds, int | float):
        raise BadArgument(f"{where}: seconds is {seconds!r}, must be a number")
    text = entry["text"].strip()
    return Reference(
        name=entry["path"],
        audio=folder / entry["path"],
        text=text,
        language=entry.get("language") or (language if text else ""),
        kind=entry.get("kind", ""),
        seconds=seconds,
        is_derived=bool(entry.get("derived")),
        confidence=entry.get("ref_confidence", "high"),
    )


def _kaldi_references(wav_scp: Path, text: Path, language: str, needs_audio: bool) -> list[Reference]:
    folder, texts = text.parent, read_table(text)
    paths = audio_paths(wav_scp, list(texts)) if needs_audio else {}
    languages, seconds = (_read_if_there(folder / name) for name in ("utt2lang", "utt2dur"))
    return [
        Reference(
            name=name,
            audio=paths.get(name, Path(name)),
            text=words,
            language=languages.get(name, language if words else ""),
            seconds=_duration(seconds[name], folder) if name in seconds else None,
        )
        for name, words in texts.items()
    ]


def _duration(text: str, folder: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadArgument(f"{folder / 'utt2dur'}: {text!r} is no number of seconds") from None


def _read_if_there(path: Path) -> dict[str, str]:
    return read_table(path) if path.is_file() else {}


def read_table(path: Path) -> dict[str, str]:
    """Utterance id → the rest of its line; raises BadArgument."""
    table: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        name, *rest = line.split(maxsplit=1)[:2] or [""]  # blanks or a tab, as Kaldi reads it
        if name in table:
            raise BadArgument(f"{path}:{number}: {name} is there twice")
        if name:
            table[name] = rest[0].strip() if rest else ""
    return table


def audio_paths(table: Path, names: Sequence[str]) -> dict[str, Path]:
    """Where the audio of each utterance is, relative to the working directory or to `wav.scp`."""
    entries = read_table(table)
    paths = {}
    for name in names:
        entry = entries.get(name, "")
        if not entry or entry.endswith("|"):
            what = "pipes are not run: write the file first" if entry else "no such utterance"
            raise BadArgument(f"{table}: {name}: {what}")
        beside = table.parent / entry
        paths[name] = beside if beside.exists() else Path(entry)
    return paths


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadArgument(f"cannot read {path}: {error}") from error
