"""Where serve.sh has the gateway keep its jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.serve.arguments import parse_options
from scripts.serve.gateway import gateway_launch
from scripts.serve.gateway_models import GatewayModels
from scripts.serve.model_table import table_of_words
from scripts.serve.models import Weights
from scripts.serve.served_models import Served

ROOT = Path(__file__).resolve().parents[2]
PROPERTIES = {"inference_address": "http://127.0.0.1:8080", "management_address": "http://127.0.0.1:8081"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "{folder}/jobs/gateway-8123"),
        ({"GATEWAY_JOBS__DIRECTORY": "/elsewhere"}, "/elsewhere"),
        ({"GATEWAY_JOBS__ENABLED": "false"}, None),
    ],
)
def test_each_gateway_has_a_folder_beside_the_logs(
    variables: dict[str, str], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWAY_JOBS__DIRECTORY", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    arguments = ["--gateway-port", "8123", "--log-dir", str(tmp_path / "logs")]
    options = parse_options(arguments, {}, ROOT, tmp_path)
    rows = table_of_words(("demo",)).rows
    served = tuple(Served(name, row, Weights(tmp_path)) for name, row in rows.items())
    models = GatewayModels(served, {name: 1 for name in rows})
    launch = gateway_launch(options, PROPERTIES, None, ROOT, models)
    found = launch.environment.get("GATEWAY_JOBS__DIRECTORY")
    assert found == (expected.format(folder=tmp_path) if expected else None)
