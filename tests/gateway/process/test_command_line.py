"""`python -m gateway`: what it prints, and what it refuses before anything starts."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.process import command_line
from gateway.settings import Settings, SettingsError
from tests.gateway.process.running import ROOT, environment

pytestmark = pytest.mark.slow


def run(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_says_what_it_is_with_examples() -> None:
    said = run("--help")
    assert said.returncode == 0
    assert "--print-config" in said.stdout and "examples:" in said.stdout and "SIGTERM" in said.stdout


def test_the_printed_settings_are_a_settings_file(tmp_path: Path) -> None:
    said = run("--print-config", "--port", "9", server__drain_s=5)
    assert said.returncode == 0
    printed = yaml.safe_load(said.stdout)
    assert (printed["server"]["port"], printed["server"]["drain_s"]) == (9, 5)
    file = tmp_path / "gateway.yaml"
    file.write_text(said.stdout)
    assert run("--print-config", config=file).stdout == said.stdout


def test_the_printed_settings_have_no_secrets(tmp_path: Path) -> None:
    said = run("--print-config", access__keys="hunter2-hunter2-hunter2")
    assert said.returncode == 0 and "hunter2" not in said.stdout
    assert yaml.safe_load(said.stdout)["access"]["keys"] == ["**********"]
    file = tmp_path / "gateway.yaml"
    file.write_text(said.stdout)
    refused = run("--print-config", config=file)
    assert refused.returncode == 2 and "access.keys.0" in refused.stderr, "the mask must never be a key"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SERVER__HOST", "0.0.0.0", "no API key is configured"),
        ("SERVER__PROT", "1", "did you mean GATEWAY_SERVER__PORT?"),
        ("SERVER__PORT", "eighty", "server.port is 'eighty'"),
        ("SERVER__HOST", "no.such.host.invalid", "must be an address of this machine"),
        ("MEDIA__SPOOL_DIR", "/nowhere", "media.spool_dir is '/nowhere', must be a folder"),
    ],
)
def test_a_mistake_is_found_before_the_application_is_loaded(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"GATEWAY_{name}", value)
    assert command_line.main([]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and said.startswith("gateway: ")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"access__keys_file": "/nowhere/keys.yaml"}, "/nowhere/keys.yaml"),
        ({"access__storage_url": "ftp://x"}, "access.storage_url cannot be used"),
        ({"server__tls_cert": __file__, "server__tls_key": __file__}, "server.tls_cert or server.tls_key"),
        ({"server__host": "203.0.113.77", "server__allow_without_keys": "true"}, "server.host is"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(settings: dict[str, str], words: str) -> None:
    said = run(**{"server__port": "0"} | settings)
    assert (said.returncode, words in said.stderr) == (2, True), said.stderr
    assert said.stderr.count("\n") == 1 and said.stderr.startswith("gateway: ")


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = run("--port", str(taken.getsockname()[1]))
    assert said.returncode == 2
    assert "Address already in use" in said.stderr and said.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("host", "access", "server", "refused"),
    [
        ("127.0.0.1", {}, {}, False),
        ("::1", {}, {}, False),
        ("localhost", {}, {}, False),
        ("0.0.0.0", {}, {}, True),
        ("::", {}, {}, True),
        ("0.0.0.0", {"keys": ["0123456789abcdef"]}, {}, False),
        ("0.0.0.0", {"keys_file": "keys.yaml"}, {}, False),
        ("0.0.0.0", {}, {"allow_without_keys": True}, False),
    ],
)
def test_strangers_need_a_key(
    host: str, access: dict[str, Any], server: dict[str, Any], refused: bool
) -> None:
    settings = Settings(server={"host": host, **server}, access=access)  # type: ignore[arg-type]
    if refused:
        with pytest.raises(SettingsError, match="no API key"):
            command_line.check_exposure(settings)
    else:
        command_line.check_exposure(settings)
