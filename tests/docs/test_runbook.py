"""docs/runbook.md: every chapter names the tests that have produced its failure, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
CHAPTERS = dict(
    zip(
        re.findall(r"^## (.+)$", PAGE, re.MULTILINE),
        re.split(r"^## .+$", PAGE, flags=re.MULTILINE)[1:],
        strict=True,
    )
)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
OF_THE_PROCESSES = "tests/live/faults/"


def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def produced_by(chapter: str) -> list[tuple[str, str]]:
    (line,) = re.findall(r"^(?:Produced by|Not produced) .+$", CHAPTERS[chapter], re.MULTILINE)
    return TEST.findall(line)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_names_tests_that_exist(chapter: str) -> None:
    named = produced_by(chapter)
    assert named
    assert [(path, name) for path, name in named if name not in functions(path)] == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_leads_from_the_symptom_to_the_action(chapter: str) -> None:
    text = CHAPTERS[chapter]
    places = [text.find(word) for word in ("Symptom:", "Metric:", "Action")]
    assert -1 not in places and places == sorted(places)


def test_ten_failures_and_more_are_produced_against_the_real_processes() -> None:
    """Each of the table at the top is; a GPU's memory, a leak and failing turns are not. Jobs and webhooks
    need no worker."""
    produced = {
        chapter
        for chapter in CHAPTERS
        if any(path.startswith(OF_THE_PROCESSES) for path, _ in produced_by(chapter))
    }
    elsewhere = {
        "GpuMemoryHigh",
        "LiveTurnsFailing",
        "WorkerMemoryGrowing",
        "JobsStandStill",
        "JobLinesFailing",
        "JobsNotWritten",
        "WebhooksGivenUp",
        "WebhooksLate",
    }
    assert set(CHAPTERS) - produced == elsewhere
    table = PAGE.partition("The ten most likely")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "What you see" not in line]
    assert len(rows) == 10
    anchors = {re.sub(r"[^\w -]", "", name).lower().replace(" ", "-"): name for name in produced}
    assert set(re.findall(r"\(#([\w-]+)\)", table)) <= anchors.keys()
