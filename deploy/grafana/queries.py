"""What a dashboard file asks, and the answers of a Prometheus, without Grafana."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parent / "dashboards" / "whisper.json"
TIMEOUT_S = 30
RATE_INTERVAL = "$__rate_interval"  # Grafana's; four scrapes or more


@dataclass(frozen=True)
class Panel:
    """One panel, with its place on a grid of 24 columns."""

    title: str
    kind: str  # "row", "stat" or "timeseries"
    unit: str
    x: int
    y: int
    width: int
    height: int
    stacked: bool
    targets: tuple[tuple[str, str], ...]  # (expression, legend)


@dataclass(frozen=True)
class Series:
    """One line of an answer."""

    labels: dict[str, str]
    times: tuple[float, ...]  # seconds since 1970
    values: tuple[float, ...]

    @property
    def has_data(self) -> bool:
        return any(not math.isnan(value) for value in self.values)


def read_panels(dashboard: Path = DASHBOARD) -> Iterator[Panel]:
    """The panels of a dashboard file, in its order."""
    for panel in json.loads(dashboard.read_text(encoding="utf-8"))["panels"]:
        place, defaults = panel["gridPos"], panel.get("fieldConfig", {}).get("defaults", {})
        yield Panel(
            title=panel["title"],
            kind=panel["type"],
            unit=defaults.get("unit", "short"),
            x=place["x"],
            y=place["y"],
            width=place["w"],
            height=place["h"],
            stacked=defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal",
            targets=tuple((target["expr"], target["legendFormat"]) for target in panel.get("targets", ())),
        )


class Prometheus:
    """The HTTP API of a Prometheus server. Raises ValueError with its message where it finds fault."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def now(self, expression: str) -> list[Series]:
        """The expression's value at this moment; no series where there is none."""
        result = self._ask("query", query=expression)
        return [Series(one["metric"], *_columns([one["value"]])) for one in result]

    def between(self, expression: str, start: float, end: float, step_s: float) -> list[Series]:
        """The expression's values in a range of time (seconds since 1970)."""
        result = self._ask("query_range", query=expression, start=start, end=end, step=step_s)
        return [Series(one["metric"], *_columns(one["values"])) for one in result]

    def _ask(self, path: str, **parameters: str | float) -> list[Any]:
        request = urllib.request.Request(
            f"{self._url}/api/v1/{path}", data=urllib.parse.urlencode(parameters).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                result: list[Any] = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters['query']}: {error.read().decode(errors='replace')}") from None
        return result


def _columns(pairs: list[tuple[float, str]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(time for time, _ in pairs), tuple(float(value) for _, value in pairs)
