"""deploy/grafana: what Grafana can load, over metrics that exist. Its queries run in tests/live/server."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboard import DASHBOARD, read_panels

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
RULES = ROOT / "deploy" / "prometheus" / "rules" / "recording.yaml"
METRIC = re.compile(r"\b((?:whisper_|ts_|Requests|Worker|Queue)\w+|whisper:[\w:]+)")
NAMES_OF_LABELS_AND_GROUPS = re.compile(r"(by|on) \([^)]*\)")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def known_metrics() -> set[str]:
    """The handler's declared ones, TorchServe's own that are kept, and what rules record."""
    names = set()
    for section in ("model_metrics", "ts_metrics"):
        for kind, metrics in load(ROOT / "config" / "metrics.yaml")[section].items():
            for metric in metrics:
                suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
                names |= {metric["name"] + suffix for suffix in suffixes}
    return names | {rule["record"] for group in load(RULES)["groups"] for rule in group["rules"]}


def expressions() -> list[tuple[str, str]]:
    return [(panel.title, expression) for panel in read_panels() for expression in panel.expressions]


@pytest.mark.parametrize(("title", "expression"), expressions(), ids=lambda value: value[:40])
def test_a_panel_asks_for_metrics_that_exist(title: str, expression: str) -> None:
    asked = set(METRIC.findall(NAMES_OF_LABELS_AND_GROUPS.sub("", expression)))
    asked = {name for name in asked if not name.startswith("whisper_gateway_")}
    assert asked <= known_metrics(), title


def test_every_metric_of_the_handler_is_shown_or_alerted_on() -> None:
    shown = "\n".join(expression for _, expression in expressions()) + RULES.read_text(encoding="utf-8")
    declared = load(ROOT / "config" / "metrics.yaml")["model_metrics"]
    names = {metric["name"] for metrics in declared.values() for metric in metrics}
    assert {name for name in names if name.startswith("whisper_") and name not in shown} == set()


def test_panels_have_names_of_their_own_and_do_not_overlap() -> None:
    panels = list(read_panels())
    assert len({panel.title for panel in panels}) == len(panels) > 15
    for one, other in combinations(panels, 2):
        apart = (
            one.x + one.width <= other.x
            or other.x + other.width <= one.x
            or one.y + one.height <= other.y
            or other.y + other.height <= one.y
        )
        assert apart, (one.title, other.title)
    assert all(panel.x + panel.width <= 24 for panel in panels)


def test_every_panel_says_what_it_shows_and_takes_the_chosen_data_source() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource"]
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert panel["description"] and panel["targets"]
            for part in (panel, *panel["targets"]):
                assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_provisioning_fits_the_compose_file() -> None:
    compose = load(ROOT / "deploy" / "compose.yaml")
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    provider = load(GRAFANA / "provisioning" / "dashboards" / "whisper.yaml")["providers"][0]
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert (GRAFANA / "dashboards" / DASHBOARD.name) == DASHBOARD
    source = load(GRAFANA / "provisioning" / "datasources" / "prometheus.yaml")["datasources"][0]
    host = source["url"].removeprefix("http://").partition(":")[0]
    assert source["type"] == "prometheus" and host in compose["services"]
    scraped = load(ROOT / "deploy" / "prometheus" / "prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
