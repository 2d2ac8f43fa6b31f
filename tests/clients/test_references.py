"""Recordings with reference texts, from a manifest of JSON lines and from Kaldi's pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whisper_client.errors import BadArgument
from whisper_client.references import Reference, read_references


def manifest(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_a_manifest_line_says_all(tmp_path: Path) -> None:
    line = {
        "path": "de/a.flac", "text": " Guten Tag ", "language": "de", "kind": "read", "seconds": 2.5,
        "derived": True, "ref_confidence": "medium", "licence": "CC0",
    }  # fmt: skip
    assert read_references(manifest(tmp_path, line)) == [
        Reference(
            "de/a.flac", tmp_path / "de" / "a.flac", "Guten Tag", "de", "read", 2.5,
            is_derived=True, confidence="medium",
        )
    ]  # fmt: skip


def test_a_language_is_given_to_speech_that_names_none(tmp_path: Path) -> None:
    path = manifest(tmp_path, {"path": "a", "text": "hello"}, {"path": "b", "text": ""})
    assert [one.language for one in read_references(path, "en")] == ["en", ""]


def test_a_recording_listed_twice_counts_once(tmp_path: Path) -> None:
    line = {"path": "a", "text": "hello"}
    assert len(read_references(manifest(tmp_path, line, line))) == 1
    with pytest.raises(BadArgument, match=r"manifest.jsonl:2: a is there twice, with another text"):
        read_references(manifest(tmp_path, line, line | {"text": "goodbye"}))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "manifest.jsonl:1: not JSON"),
        ("[]", "a line needs path and text"),
        ('{"path": "a"}', "no string 'text'"),
        ('{"path": "a", "text": "b", "seconds": "c"}', "seconds is 'c', must be a number"),
        ("", "holds no recording"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(BadArgument, match=complaint):
        read_references(manifest(tmp_path, line))


def test_the_classic_pair(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "wav.scp").write_text("a a.wav\nb\t/elsewhere/b.wav\n")
    (tmp_path / "text").write_text("a two  words\nb\n")
    (tmp_path / "utt2lang").write_text("a hi\n")
    (tmp_path / "utt2dur").write_text("a 1.5\n")
    assert read_references(tmp_path, "en") == [
        Reference("a", tmp_path / "a.wav", "two  words", "hi", seconds=1.5),
        Reference("b", Path("/elsewhere/b.wav"), ""),
    ]


def test_finished_transcripts_need_no_audio(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a words\n")
    assert [one.text for one in read_references(tmp_path, needs_audio=False)] == ["words"]
    with pytest.raises(BadArgument, match=r"cannot read .*wav\.scp"):
        read_references(tmp_path)
