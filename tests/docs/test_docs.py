"""What the documents say is what the code does, as far as a test can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.write_docs import with_options

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def test_the_readme_lists_the_options_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == with_options(readme), "run: python -m scripts.write_docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_named_in_code_marks_exist(document: Path) -> None:
    names = re.findall(
        r"`((?:asr|gateway|handler|config|clients|scripts|docs|tests|training|model-archiver)/[\w./-]+)`",
        document.read_text(encoding="utf-8"),
    )
    made_at_run_time = ("training/runs/",)
    missing = [name for name in names if not (ROOT / name).exists()]
    assert [name for name in missing if not name.startswith(made_at_run_time)] == []
