"""What the dashboard file asks, and the answers of a Prometheus, without Grafana."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DASHBOARD = Path(__file__).resolve().parents[1] / "deploy" / "grafana" / "dashboards" / "whisper.json"
TIMEOUT_S = 30
RATE_INTERVAL = "$__rate_interval"  # Grafana's; four scrapes or more


@dataclass(frozen=True)
class Panel:
    """One panel, with its place on a grid of 24 columns."""

    title: str
    x: int
    y: int
    width: int
    height: int
    expressions: tuple[str, ...]  # none: a row's heading


@dataclass(frozen=True)
class Sample:
    """One series of an answer, at this moment."""

    labels: dict[str, str]
    value: float

    @property
    def has_data(self) -> bool:
        return not math.isnan(self.value)


def read_panels() -> Iterator[Panel]:
    """The panels of the dashboard file, in its order."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        place = panel["gridPos"]
        expressions = tuple(target["expr"] for target in panel.get("targets", ()))
        yield Panel(panel["title"], place["x"], place["y"], place["w"], place["h"], expressions)


class Prometheus:
    """The HTTP API of a Prometheus server. Raises ValueError with its message where it finds fault."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def now(self, expression: str) -> list[Sample]:
        """The expression's value at this moment; no series where there is none."""
        query = urllib.parse.urlencode({"query": expression}).encode()
        request = urllib.request.Request(f"{self._url}/api/v1/query", data=query)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                result = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{expression}: {error.read().decode(errors='replace')}") from None
        return [Sample(one["metric"], float(one["value"][1])) for one in result]
