"""Manifest, files and rows at an address: a folder as `file://`, or a bucket that BULK_BUCKET names.

With a server that speaks S3's protocol:

    export BULK_BUCKET='s3://speech?scheme=http&endpoint_override=127.0.0.1:5000'
    python -m pytest tests/bulk/test_buckets.py
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="an extra: requirements-bulk.txt")

import pyarrow.parquet

from bulk.output import Output
from bulk.shards import entries_of
from bulk_rows import places
from bulk_rows.entries import Entry, list_entries
from bulk_rows.rows import Row
from whisper_client.errors import BadArgument

SEGMENT = {"start": 0.0, "end": 1.5, "text": "नमस्ते", "temperature": 0.0, "avg_logprob": -0.2} | {
    "compression_ratio": 1.0, "no_speech_prob": 0.1,
}  # fmt: skip


class Bucket:
    """A prefix of its own below an address."""

    def __init__(self, address: str) -> None:
        self._body, self._query = places.split_query(address)
        self._body += f"/{uuid.uuid4().hex}"

    def at(self, name: str) -> str:
        return f"{self._body}/{name}{self._query}"

    def write(self, name: str, content: bytes) -> None:
        files, inside = places.filesystem_of(self.at(name))
        files.create_dir(inside.rpartition("/")[0], recursive=True)
        with files.open_output_stream(inside) as file:
            file.write(content)

    def remove(self) -> None:
        files, inside = places.filesystem_of(self.at("any"))
        files.delete_dir(inside.rpartition("/")[0])


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    made = Bucket(os.environ.get("BULK_BUCKET", f"file://{tmp_path}"))
    for name in ("talks/a.wav", "talks/more/b c.mp3", "talks/notes.txt"):
        made.write(name, f"sound of {name}".encode())
    yield made
    made.remove()


def row_for(entry: Entry) -> Row:
    said = {"text": "नमस्ते", "language": "hindi", "duration": 1.5, "model": "base", "attempts": 1}
    return Row(entry.id, entry.path, segments=(SEGMENT,), **said)  # type: ignore[arg-type]


def test_a_prefix_and_a_manifest_name_the_same_files(bucket: Bucket) -> None:
    lines = [{"path": "a.wav"}, {"path": "more/b c.mp3"}]
    bucket.write("talks/list.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    by_prefix, by_manifest = (
        list_entries([bucket.at(name)], {"language": "hi"}).entries for name in ("talks", "talks/list.jsonl")
    )
    assert by_prefix == by_manifest and len(by_prefix) == 2
    read = [places.read_bytes(entry.path) for entry in by_prefix]
    assert read == [b"sound of talks/a.wav", b"sound of talks/more/b c.mp3"]
    with pytest.raises(BadArgument, match="cannot read"):
        places.read_bytes(bucket.at("talks/nothing.wav"))


def test_parts_become_rows_and_subtitles(bucket: Bucket) -> None:
    entries = list_entries([bucket.at("talks")], {}).entries
    output = Output(bucket.at("out"))
    shards = output.inside(output.write_shards("manifest", entries))
    shard = pyarrow.parquet.read_table(f"{shards}/00000.parquet", filesystem=output.files)
    assert entries_of(shard) == list(entries)
    for entry in reversed(entries):
        output.write_part([row_for(entry)])
    output.finish(entries, "jsonl", ["srt"])
    output.write_text("summary.json", "{}")
    again = Output(bucket.at("out"))
    assert again.written().keys() == {entry.id for entry in entries}
    rows = places.read_bytes(bucket.at("out/rows/00000.jsonl")).decode().splitlines()
    assert [json.loads(row)["path"] for row in rows] == [entry.path for entry in entries]
    assert "नमस्ते" in places.read_bytes(bucket.at(f"out/srt/a-{entries[0].id}.srt")).decode()
