"""deploy/prometheus by Prometheus's own tool: configuration, rules, and what the rules do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yaml"))
RULE_TESTS = sorted((PROMETHEUS / "tests").glob("*.test.yaml"))
RUNBOOK = ROOT / "docs" / "runbook.md"

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*arguments: str | Path) -> str:
    """What promtool says; an AssertionError with it if it finds fault."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def alerts() -> dict[str, dict[str, Any]]:
    found = [rule for path in RULES for group in load(path)["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in found if "alert" in rule}


def alert_tests() -> list[dict[str, Any]]:
    return [
        case
        for path in RULE_TESTS
        for test in load(path)["tests"]
        for case in test.get("alert_rule_test", ())
    ]


@needs_promtool
def test_the_configuration_is_valid() -> None:
    assert f"{len(RULES)} rule files found" in promtool("check", "config", PROMETHEUS / "prometheus.yml")


@needs_promtool
def test_the_targets_of_compose_are_valid(tmp_path: Path) -> None:
    """Compose lays them over targets/."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    for file in (PROMETHEUS / "compose-targets").iterdir():
        assert (PROMETHEUS / "targets" / file.name).exists()
        shutil.copy(file, tmp_path / "prometheus" / "targets")
    promtool("check", "config", tmp_path / "prometheus" / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.name)
def test_the_rules_do_what_their_tests_say(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


@needs_promtool
def test_a_rule_that_does_something_else_fails_its_test(tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    rules = tmp_path / "prometheus" / "rules" / "alerts.yaml"
    changed = rules.read_text().replace("whisper:errors:ratio5m > 0.05", "whisper:errors:ratio5m > 0.5")
    assert changed != rules.read_text()
    rules.write_text(changed)
    with pytest.raises(AssertionError, match="ErrorRateHigh"):
        promtool("test", "rules", tmp_path / "prometheus" / "tests" / "service.test.yaml")


@pytest.mark.parametrize("name", sorted(alerts()))
def test_every_alert_is_seen_firing_and_quiet(name: str) -> None:
    cases = [case["exp_alerts"] for case in alert_tests() if case["alertname"] == name]
    assert any(cases), f"no test sees {name} fire"
    assert not all(cases), f"no test sees {name} quiet"


@pytest.mark.parametrize("name", sorted(alerts()))
def test_every_alert_leads_to_its_chapter(name: str) -> None:
    annotations = alerts()[name]["annotations"]
    assert annotations["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    assert annotations["summary"]
    if not RUNBOOK.exists():
        pytest.skip("there is no runbook yet")
    headings = re.findall(r"^#+ +(.+?) *$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert name.lower() in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
