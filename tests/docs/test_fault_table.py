"""The fault tests' table is written in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.faults import table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def block(text: str) -> str:
    return text.partition("<!-- faults: begin")[2].partition("<!-- faults: end -->")[0]


def test_the_table_is_written_between_its_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "faults.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(table, "rows", [("a fault", "1.0 s", "its end", "nothing")])
    monkeypatch.delenv(table.VARIABLE, raising=False)
    table.write_if_asked(passed=True)  # not asked
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    monkeypatch.setenv(table.VARIABLE, str(page))
    table.write_if_asked(passed=True)
    written = page.read_text(encoding="utf-8")
    assert "| a fault | 1.0 s | its end | nothing |" in block(written) and "bad YAML" not in block(written)
    assert "failed" not in block(written) and table.COMMAND in block(written)
    assert written.partition("<!-- faults: end -->")[2] == PAGE.read_text(encoding="utf-8").partition(
        "<!-- faults: end -->"
    )[2]  # fmt: skip
    table.write_if_asked(passed=False)
    assert "Some of the tests failed" in block(page.read_text(encoding="utf-8"))


def test_a_file_without_markers_gets_the_table_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "table.md"
    monkeypatch.setenv(table.VARIABLE, str(out))
    monkeypatch.setattr(table, "rows", [])
    table.record("a fault", None, "", "nothing")
    table.write_if_asked(passed=True)
    assert out.read_text(encoding="utf-8").startswith("| Fault |")
