"""What `python -m bulk` writes, without a cluster: parts → rows in order, once each."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="an extra: requirements-bulk.txt")

import pyarrow.parquet

from bulk.output import Output
from bulk.progress_bar import RowsBar
from bulk.shards import entries_of
from bulk_rows.entries import Entry, entry_for
from bulk_rows.rows import Row, error_row

ENTRIES = [entry_for(f"/talks/{number}.wav", {"language": "hi"}) for number in range(5)]
PIECE = {"start": 0.0, "end": 1.5, "text": "नमस्ते", "temperature": 0.0, "avg_logprob": -0.2}
SEGMENT = PIECE | {"compression_ratio": 1.0, "no_speech_prob": 0.1}


def row_for(entry: Entry) -> Row:
    said = {"text": "नमस्ते", "language": "hindi", "duration": 1.5, "model": "base", "attempts": 1}
    return Row(entry.id, entry.path, segments=(SEGMENT,), **said)  # type: ignore[arg-type]


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(str(tmp_path / "out"))


def finished(output: Output, name: str = "rows/00000.parquet") -> list[Row]:
    from bulk_rows.row_tables import rows_of_table

    return rows_of_table(pyarrow.parquet.read_table(output.inside(name)))


def test_rows_come_in_the_manifests_order_and_once(output: Output) -> None:
    rows = [row_for(entry) for entry in ENTRIES]
    output.write_part([rows[3], rows[1]])
    output.write_part([rows[4], rows[0], rows[1]])  # a block that was written, then heard again
    output.write_part([rows[2]])
    output.finish(ENTRIES, "parquet", [])
    assert finished(output) == rows


def test_a_retry_that_succeeds_takes_the_place_of_its_error(output: Output) -> None:
    output.write_part([row_for(ENTRIES[0])])
    output.write_part([error_row(ENTRIES[0], "worker_died", "it died", 0)])
    output.write_part([error_row(ENTRIES[1], "timeout", "late", 2)])
    output.finish(ENTRIES, "parquet", [])
    assert [row.error_code for row in finished(output)] == [None, "timeout"]


def test_half_a_part_is_no_part(output: Output, tmp_path: Path) -> None:
    output.write_part([row_for(entry) for entry in ENTRIES])
    (whole,) = (tmp_path / "out" / "parts").iterdir()
    (tmp_path / "out" / "parts" / "torn.parquet").write_bytes(whole.read_bytes()[:-20])
    assert output.written().keys() == {entry.id for entry in ENTRIES}


def test_json_lines_and_subtitles(output: Output, tmp_path: Path) -> None:
    output.write_part([row_for(ENTRIES[0]), error_row(ENTRIES[1], "timeout", "late", 2)])
    output.finish(ENTRIES, "jsonl", ["srt"])
    lines = (tmp_path / "out" / "rows" / "00000.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["नमस्ते", None]
    (cues,) = (tmp_path / "out" / "srt").iterdir()
    assert cues.name == f"0-{ENTRIES[0].id}.srt"
    assert cues.read_text("utf-8") == "1\n00:00:00,000 --> 00:00:01,500\nनमस्ते\n\n"


def test_shards_hold_the_entries(output: Output) -> None:
    output.write_shards("manifest", [*ENTRIES, ENTRIES[0]])
    output.write_shards("manifest", ENTRIES)
    assert entries_of(pyarrow.parquet.read_table(output.inside("manifest"))) == [
        dataclasses.replace(entry, options=dict(entry.options)) for entry in ENTRIES
    ]


def test_the_bar_counts_rows_on_the_disk(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    output.write_part([row_for(ENTRIES[0])])
    with RowsBar(output, total=5, done=1):
        output.write_part([row_for(entry) for entry in ENTRIES[1:4]])
    assert "4/5" in capsys.readouterr().err
