"""The options table of README.md."""

from __future__ import annotations

from asr.request.fields import FIELDS
from scripts.write_docs import options_table


def test_the_table_has_every_field_once_with_its_default() -> None:
    rows = [line.split(" | ") for line in options_table().splitlines()[2:]]
    assert len(rows) == len(FIELDS)
    assert all(len(row) == 4 for row in rows)
    assert "| `vad_min_silence_ms` | a whole number 0..10000 | `500` |" in options_table()
