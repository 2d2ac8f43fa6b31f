"""`python -m bulk` before a cluster: what it refuses, and what it says without Ray."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bulk.arguments import parse
from bulk.command import main
from whisper_client.command_line import run


def test_without_ray_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    assert run(main, [str(tmp_path), "--to", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "pip install -r requirements-bulk.txt" in said and "clients/bulk_request.py --to" in said


@pytest.mark.parametrize(
    "wrong",
    [["in"], ["in", "--to", "out", "--engine", "actors"], ["in", "--to", "out", "--checkpoint", "base.pt"]],
)
def test_what_does_not_fit_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(wrong)


def test_blocks_are_small_for_gateways_and_larger_for_an_engine() -> None:
    assert parse(["in", "--to", "out"]).block == 4
    assert parse(["in", "--to", "out", "--engine", "actors", "--checkpoint", "base.pt"]).block == 16
