"""Manifests, folders and Kaldi directories → entries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_rows import places
from bulk_rows.entries import Listing, entry_for, list_entries
from tests.clients.fake_server import write_wav
from whisper_client.errors import BadArgument


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "deep/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_wav(tmp_path / name, 0.1)
    return tmp_path


def paths(listing: Listing) -> list[str]:
    return [entry.path for entry in listing.entries]


def test_a_folder_and_a_file(folder: Path) -> None:
    both = [str(folder / "a.wav"), str(folder / "deep" / "b.wav")]
    listing = list_entries([str(folder)], {})
    assert paths(listing) == both and listing.doubled == 0
    assert paths(list_entries([both[1]], {})) == [both[1]]


def test_json_lines_say_how_each_file_is_heard(folder: Path) -> None:
    lines = [
        {"path": "a.wav", "language": "hi", "seconds": 3},  # other columns mean nothing here
        {"path": "deep/b.wav", "options": {"temperature": 0.5}},
        {"path": "s3://bucket/c.mp3"},
    ]
    manifest = folder / "list.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines) + "\n", encoding="utf-8")
    listing = list_entries([str(manifest)], {"language": "en"})
    assert [dict(entry.options) for entry in listing.entries] == [
        {"language": "hi"}, {"language": "en", "temperature": 0.5}, {"language": "en"},
    ]  # fmt: skip
    assert paths(listing) == [str(folder / "a.wav"), str(folder / "deep/b.wav"), "s3://bucket/c.mp3"]


def test_csv_and_parquet_hold_the_same_entries(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text('path,language,options\na.wav,hi,"{""beam_size"": 5}"\ndeep/b.wav,,\n', encoding="utf-8")
    listing = list_entries([str(table)], {})
    assert [dict(each.options) for each in listing.entries] == [{"language": "hi", "beam_size": 5}, {}]
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs requirements-bulk.txt")
    import pyarrow

    columns = {
        "path": ["a.wav", "deep/b.wav"],
        "language": ["hi", None],
        "options": ['{"beam_size": 5}', None],
    }
    parquet.write_table(pyarrow.table(columns), folder / "list.parquet")
    assert list_entries([str(folder / "list.parquet")], {}) == listing


def test_addresses_go_through_pyarrow(folder: Path) -> None:
    """`file://` stands for `s3://` and `gs://`: the same code, with names that no address may hold."""
    pytest.importorskip("pyarrow", reason="needs requirements-bulk.txt")
    write_wav(folder / "my talk 50%.wav", 0.1)
    (folder / "notes.txt").touch()
    listing = list_entries([f"file://{folder}/"], {})
    names = ["a.wav", "deep/b.wav", "my talk 50%.wav"]
    assert paths(listing) == [f"file://{folder}/{name}" for name in names]
    assert places.read_bytes(listing.entries[2].path) == (folder / names[2]).read_bytes()
    (folder / "list.jsonl").write_text('{"path": "deep/b.wav"}\n')
    assert paths(list_entries([f"file://{folder}/list.jsonl"], {})) == [f"file://{folder}/deep/b.wav"]
    with pytest.raises(BadArgument, match="cannot read"):
        places.read_bytes(f"file://{folder}/gone.wav")


def test_an_address_keeps_what_its_filesystem_needs() -> None:
    there = "?region=eu-1&endpoint_override=10.0.0.1:9000"
    assert places.beside(f"s3://talks/lists/a.jsonl{there}", "b.wav") == f"s3://talks/lists/b.wav{there}"
    assert places.split_query("s3://talks/what?.wav") == ("s3://talks/what?.wav", "")
    assert places.name_of(f"s3://talks/b.wav{there}") == "b.wav"


def test_a_kaldi_directory(folder: Path) -> None:
    (folder / "wav.scp").write_text("one a.wav\ntwo deep/b.wav\n")
    (folder / "utt2lang").write_text("two mr\n")
    listing = list_entries([str(folder)], {})
    assert paths(listing) == [str(folder / "a.wav"), str(folder / "deep" / "b.wav")]
    assert [dict(entry.options) for entry in listing.entries] == [{}, {"language": "mr"}]


def test_the_same_work_has_one_id(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    whole = list_entries([str(folder)], {})
    assert list_entries([".", "a.wav"], {}) == Listing(whole.entries, doubled=1)
    ids = {entry_for("a.wav", options).id for options in ({}, {"language": "en"}, {"language": "hi"})}
    assert len(ids) == 3
    assert entry_for("a", {"x": 1, "y": None}) == entry_for("a", {"x": 1})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.jsonl", "{}\n", "x.jsonl:1: no path"),
        ("x.jsonl", '{"path": "a"}\nnonsense\n', "x.jsonl:2: not JSON"),
        ("x.jsonl", '{"path": "a", "options": 3}\n', "options is 3"),
        ("x.csv", "file\na.wav\n", "x.csv:2: no path"),
        ("x.jsonl", "", "nothing to transcribe"),
    ],
)
def test_a_bad_manifest_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadArgument, match=words):
        list_entries([str(tmp_path / name)], {})
