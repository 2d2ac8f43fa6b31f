"""docs/metrics.md lists every metric and every alert there is, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([A-Za-z_:]\w[\w:]*)`")


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def declared() -> dict[str, tuple[str, set[str]]]:
    """Name → type and labels, of config/metrics.yaml."""
    return {
        metric["name"]: (kind, set(metric["dimensions"]))
        for kinds in load("config/metrics.yaml").values()
        if isinstance(kinds, dict)
        for kind, metrics in kinds.items()
        for metric in metrics
    }


def rows(title: str) -> list[list[str]]:
    """The cells of the lines below a heading that are rows of a table, up to the next heading."""
    chapter = PAGE.partition(f"{title}\n")[2]
    chapter = re.split(r"^#", chapter, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line.strip("|").split("|") for line in chapter.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines if not cells[0].startswith("--")]


def test_the_handlers_table_is_complete_and_right() -> None:
    table = {
        name: (kind, set(NAMED.findall(labels)))
        for names, kind, labels, *_ in rows("## The handler's")[1:]
        for name in NAMED.findall(names)
    }
    assert table == {name: value for name, value in declared().items() if name.startswith("whisper_")}


def test_torchserves_table_is_complete() -> None:
    named = {name for cells in rows("### TorchServe's own")[1:] for name in NAMED.findall(cells[0])}
    assert named == {name for name in declared() if not name.startswith("whisper_")}


def test_the_alerts_are_those_of_the_rules() -> None:
    rules = [
        rule for group in load("deploy/prometheus/rules/alerts.yaml")["groups"] for rule in group["rules"]
    ]
    listed = {
        NAMED.findall(cells[0])[0]: cells[1]
        for cells in rows("## Prometheus and Grafana")
        if cells[1] in ("page", "ticket")
    }
    assert listed == {rule["alert"]: rule["labels"]["severity"] for rule in rules}


def test_the_recorded_are_those_of_the_rules() -> None:
    groups = load("deploy/prometheus/rules/recording.yaml")["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"]}
    assert {name for name in NAMED.findall(PAGE) if name.startswith("whisper:")} == recorded
