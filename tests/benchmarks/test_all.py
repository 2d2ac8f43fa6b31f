"""What `benchmarks/all.py --resume` leaves out, and that what it runs exists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from benchmarks import all as every
from benchmarks import report

NOW = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
PROGRAM = every.program("engine-tiny", "engine.py --sizes tiny", "engine-tiny")


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)


def measured(command, age):
    date = (NOW - age).strftime("%Y-%m-%d %H:%M UTC")
    report.save("engine-tiny", {"conditions": {"command": command, "date": date}})


@pytest.mark.parametrize(
    ("command", "age", "done"),
    [
        ("python benchmarks/engine.py --sizes tiny", timedelta(hours=3), True),
        ("python benchmarks/engine.py --sizes tiny", timedelta(days=2), False),
        ("python benchmarks/engine.py --sizes tiny --tokens 4", timedelta(hours=3), False),
    ],
)
def test_what_is_measured_already(command, age, done):
    assert not every.is_done(PROGRAM, NOW)
    measured(command, age)
    assert every.is_done(PROGRAM, NOW) == done


def test_targets_are_always_written():
    assert not every.is_done(every.PROGRAMS[-1], NOW)
    assert every.PROGRAMS[-1].results is None


def test_the_programs_exist():
    for one in every.PROGRAMS:
        assert (every.ROOT / one.command[0]).is_file()
