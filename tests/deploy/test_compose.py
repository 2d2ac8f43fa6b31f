"""deploy/compose*.yaml: valid, confined, in agreement with the image, the configuration and the options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from clients.download_model import CHECKPOINTS
from gateway.settings import Settings
from scripts.serve.arguments import parse_options
from scripts.serve.model_table import read_table
from scripts.serve.supervise import LOW_DISK_BYTES
from tests.deploy.images import ROOT, image_directories, image_user

DEPLOY = ROOT / "deploy"
FILES = (DEPLOY / "compose.yaml", DEPLOY / "compose.gpu.yaml", DEPLOY / "compose.models.yaml")
SIZES = {"m": 10**6, "g": 10**9}


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILES[0].read_text())["services"]
    return found


def environment() -> dict[str, str]:
    """The server's variables, with what ${NAME:-default} stands for."""
    values = services()["server"]["environment"]
    return {name: str(value).partition(":-")[2].rstrip("}") or str(value) for name, value in values.items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_files_follow_the_compose_specification(file: Path) -> None:
    pytest.importorskip("check_jsonschema")
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", services())
def test_every_service_is_confined_and_watched(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
    assert service["healthcheck"]["test"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert ":latest" not in service["image"]


@pytest.mark.parametrize("name", services())
def test_no_service_runs_as_root(name: str) -> None:
    user = services()[name].get("user") or image_user()
    assert user.partition(":")[0] not in ("", "0", "root")


def test_only_the_gateway_and_grafana_are_published_and_on_loopback() -> None:
    published = {name: service.get("ports", []) for name, service in services().items()}
    assert [port.rpartition(":")[2] for port in published["server"]] == ["8000"]
    assert [port.rpartition(":")[2] for port in published["grafana"]] == ["3000"]
    assert published["prometheus"] == []
    assert all("127.0.0.1:" in port for ports in published.values() for port in ports)


def test_the_server_can_write_where_the_image_lets_it_and_nowhere_else() -> None:
    """With a read-only root each of these needs a mount of its own."""
    server = services()["server"]
    mounts = {mount.partition(":")[0]: mount for mount in server["tmpfs"]}
    volumes = [volume.split(":")[1] for volume in server["volumes"] if not volume.endswith(":ro")]
    assert {*mounts, *volumes} == {"/tmp", *image_directories()}
    user = image_user().partition(":")[0]
    for mount in mounts.values():
        options = dict(option.split("=") for option in mount.partition(":")[2].split(","))
        assert options["uid"] == user
        assert int(options["size"][:-1]) * SIZES[options["size"][-1]] > LOW_DISK_BYTES


def test_the_options_and_settings_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    options = parse_options([], environment(), ROOT, ROOT)
    assert (options.host, options.metrics_host, options.gateway_host) == ("127.0.0.1", "0.0.0.0", "0.0.0.0")
    assert options.token_auth
    assert options.management_host is None  # config.properties: loopback
    for name, value in environment().items():
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert str(settings.media.spool_dir) in image_directories()
    grace = int(services()["server"]["stop_grace_period"].rstrip("s"))
    assert grace > settings.server.drain_s + 30  # serve.sh waits 10 s for it and 20 s for TorchServe


def test_several_models_are_those_of_the_mounted_table() -> None:
    server = yaml.safe_load((DEPLOY / "compose.models.yaml").read_text())["services"]["server"]
    source, target, _ = server["volumes"][0].split(":")
    assert target == "/app/config/models.yaml"
    table = read_table(DEPLOY / source)
    assert table is not None and len(table.rows) > 1
    assert {row.checkpoint for row in table.rows.values()} <= set(CHECKPOINTS)
    assert parse_options(server["command"], environment(), ROOT, ROOT).models == ()


def test_a_key_withdrawn_on_the_host_is_withdrawn_in_the_container() -> None:
    """Mounted by itself, a file that an editor replaces stays the old one inside: the folder is mounted."""
    keys = Path(environment()["GATEWAY_ACCESS__KEYS_FILE"])
    server = services()["server"]
    mounts = dict(reversed(volume.split(":")[:2]) for volume in server["volumes"])
    assert mounts[str(keys.parent)] == "./secrets/gateway"
    assert str(keys) not in mounts and keys.name not in str(server.get("secrets", []))


def test_no_key_stands_in_a_file_of_the_repository() -> None:
    secrets = yaml.safe_load(FILES[0].read_text())["secrets"]
    ignored = (DEPLOY / ".gitignore").read_text().split()
    assert {Path(secret["file"]).parent.name for secret in secrets.values()} == {"secrets"}
    assert "secrets/" in ignored


def test_the_mounted_files_are_there() -> None:
    """What the repository mounts into Prometheus and Grafana; secrets are the operator's."""
    mounts = [volume.split(":")[0] for service in services().values() for volume in service["volumes"]]
    files = [mount for mount in mounts if mount.startswith("./") and not mount.startswith("./secrets/")]
    assert files
    assert [file for file in files if not (DEPLOY / file).exists()] == []


def test_prometheus_looks_where_the_server_is() -> None:
    mounts = dict(volume.split(":")[:2] for volume in services()["prometheus"]["volumes"])
    folder = DEPLOY / next(source for source, at in mounts.items() if at == "/etc/prometheus/targets")
    read = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    for file, port in (("gateway.yaml", 8000), ("torchserve.yaml", 8082)):
        assert f"targets/{file}" in read
        assert yaml.safe_load((folder / file).read_text()) == [{"targets": [f"server:{port}"]}]


def test_grafana_calls_nobody_of_its_own_accord() -> None:
    """It is the one service beside the server that has a way out."""
    environment = services()["grafana"]["environment"]
    wanted = {
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
    }
    assert {name: environment.get(name) for name in wanted} == wanted


def test_grafana_asks_the_prometheus_that_is_there() -> None:
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/whisper.yaml").read_text())
    path = provider["providers"][0]["options"]["path"]
    mounts = dict(reversed(volume.split(":")[:2]) for volume in services()["grafana"]["volumes"])
    assert list((DEPLOY / mounts[path]).glob("*.json"))
