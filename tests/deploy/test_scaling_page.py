"""docs/scaling.md: its arithmetic follows its own formula, its tables are those of benchmarks/results."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import yaml

from benchmarks import scaling

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"
LOAD = re.compile(r"^\| ([\d,]+) \| ([\d.,]+), ([\d.,]+) \|", re.MULTILINE)


def number(text: str) -> float:
    return float(text.replace(",", "") if text.count(",") and "." not in text else text)


def block(name: str) -> str:
    """What stands between a section's markers."""
    return PAGE.partition(f"<!-- {name}: begin")[2].partition("-->\n")[2].partition(f"<!-- {name}: end")[0]


def given(symbol: str) -> float:
    """The value in the table of inputs."""
    (value,) = re.findall(rf"^\| [^|]+ \| {symbol} \| ([\d.]+) \|", PAGE, re.MULTILINE)
    return float(value)


def test_the_loads_follow_the_formula() -> None:
    rows = LOAD.findall(PAGE)
    assert [number(hours) for hours, _, _ in rows] == list(scaling.HOURS)
    for hours, mean, peak in rows:
        assert number(mean) == pytest.approx(number(hours) / 24, rel=0.02)
        assert number(peak) == pytest.approx(given("p") * number(hours) / 24, rel=0.01)


def test_the_workers_follow_the_formula() -> None:
    assert (given("p"), given("u"), given("s")) == (scaling.PEAK, scaling.SHARE, scaling.SPARE)
    assert [scaling.workers(hours, 50) for hours in scaling.HOURS] == [2, 6, 418]
    (by_night, by_day) = map(int, re.findall(r"\+ 1 = (\d+) workers instead of (\d+)", PAGE)[0])
    assert by_night == math.ceil(100_000 / 24 / (200 * 0.9)) + 1
    assert by_day == scaling.workers(100_000, 200)


@pytest.mark.parametrize(
    ("name", "section"), [("speeds", scaling.speeds_section), ("front-cost", scaling.front_section)]
)
def test_the_tables_are_those_of_the_results(name, section) -> None:
    assert block(name).strip() == section(), "run python benchmarks/scaling.py"


def test_the_speed_through_the_gateway_is_what_was_measured() -> None:
    data = json.loads((RESULTS / "gateway.json").read_text(encoding="utf-8"))
    (line,) = re.findall(r"^\| demo checkpoint \|(.+)\|$", block("speeds"), re.MULTILINE)
    _, _, shown, *_ = line.split("|")
    assert min(data["throughput"]["gateway"]) <= int(shown) + 0.5 <= max(data["throughput"]["gateway"]) + 1


def test_a_size_is_reckoned_from_its_engine_and_what_http_and_gateway_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engine 100, of which 0.8 are left over HTTP and 0.5 of that through the gateway."""
    engine = {"ours-float32@16": {"windows": 16, "answers": [{"total": 16 * 30 / 100}]}}
    level = {"what": "window", "clients": 48, "latencies": [1.0] * 16, "wall_s": 16 * 30 / 160}
    served = {"size": "tiny", "tokens": 64, "in_process": [200.0], "levels": [level]}
    gateway = {"throughput": {"direct": [180.0], "gateway": [90.0]}}
    (tmp_path / "engine-base.json").write_text(json.dumps({"rows": engine}))
    monkeypatch.setattr(scaling.report, "RESULTS", tmp_path)
    demo, base = scaling.speeds(served, gateway)
    assert (demo.gateway, demo.is_reckoned) == (90.0, False)
    assert (base.engine, base.gateway, base.is_reckoned) == (pytest.approx(100), pytest.approx(40), True)


def test_the_limits_of_containers_are_those_of_deploy() -> None:
    def memory(file: str, *path: str | int) -> str:
        value = yaml.safe_load((ROOT / "deploy" / file).read_text(encoding="utf-8"))
        for key in path:
            value = value[key]
        return re.sub(r"\D", "", value)

    limits = ("resources", "limits", "memory")
    compose = [
        memory(f"compose{kind}.yaml", "services", "server", "deploy", *limits) for kind in ("", ".gpu")
    ]
    pod = ("spec", "template", "spec")
    deployment = "kubernetes/base/deployment.yaml"
    gateway = memory(deployment, *pod, "containers", 0, *limits)
    worker = memory(deployment, *pod, "initContainers", 1, *limits)
    on_gpu = memory("kubernetes/overlays/gpu/gpu.yaml", *pod, "initContainers", 1, *limits)
    (row,) = re.findall(r"^\| limit in deploy/ \|(.+)\|$", PAGE, re.MULTILINE)
    wanted = [compose[0], worker, gateway, compose[1], on_gpu, gateway]
    assert re.findall(r"\d+", row) == wanted


def test_the_table_of_memory_is_that_of_the_results() -> None:
    data = json.loads((RESULTS / "memory-demo.json").read_text(encoding="utf-8"))
    for role in ("worker", "Java", "gateway"):
        (line,) = re.findall(rf"^\| {role} \| (.+) \|$", block("memory-demo"), re.MULTILINE)
        assert line.split(" | ") == [f"{max(memory[role]):.0f}" for _, memory in data["looks"]]
