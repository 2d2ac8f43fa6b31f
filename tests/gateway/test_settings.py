"""Settings: what is refused, in which words, and what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gateway.settings import CONFIG_FILE, Settings, SettingsError, load_settings
from gateway.settings_errors import to_yaml


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith("GATEWAY_")]:
        monkeypatch.delenv(name)


REFUSALS = {
    "unknown section": ("SEVER__PORT", "1", "did you mean GATEWAY_SERVER__PORT?"),
    "unknown key": ("SERVER__PROT", "1", "did you mean GATEWAY_SERVER__PORT?"),
    "no number": ("SERVER__PORT", "x", "server.port is 'x', must be a valid integer"),
    "too large": ("SERVER__PORT", "70000", "server.port is '70000', must be less than or equal to 65535"),
    "infinite": ("SERVER__DRAIN_S", "inf", "server.drain_s is 'inf', must be a finite number"),
    "no URL": ("UPSTREAM__URLS", "ftp://x", "'http' or 'https'"),
    "half a TLS": ("SERVER__TLS_CERT", "/x", "tls_cert and tls_key are given together"),
    "no file": ("CONFIG", "/nowhere.yaml", "GATEWAY_CONFIG is '/nowhere.yaml', must be the path"),
    "not a choice": ("OBSERVE__LOG_LEVEL", "loud", "must be 'debug', 'info', 'warning' or 'error'"),
    "a proxy's name": ("ACCESS__TRUSTED_PROXIES", "10.0.0.0/8, nginx", "trusted_proxies: 'nginx' must be an"),
    "one address too many": (
        "UPSTREAM__MANAGEMENT_URLS",
        "http://a,http://b",
        "management_urls has 2 addresses",
    ),
    "broken list": ("ACCESS__KEYS", "[1", "access.keys"),
    "guessed at once": (
        "ACCESS__KEYS",
        "sesame",
        "access.keys.0 is a secret, must be at least 16 characters",
    ),
}


@pytest.mark.parametrize(("name", "value", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_wrong_variable_is_named(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"GATEWAY_{name}", value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("server:\n  prot: 3\n", "server.prot is unknown: did you mean port?"),
        ("acess: {}\n", "acess is unknown: did you mean access?"),
        ("server: [\n", "line 2: expected"),
        ("- 1\n", "must have sections: server, upstream"),
        ("access:\n  keys: [[hunter2-hunter2]]\n", "access.keys.0 is a secret"),
    ],
)
def test_a_wrong_file_is_named(
    content: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(content)
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert words in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_variables_win_over_the_file_and_leave_its_other_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("server:\n  port: 1\n  drain_s: 7\n")
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    monkeypatch.setenv("GATEWAY_SERVER__PORT", "2")
    settings = load_settings()
    assert (settings.server.port, settings.server.drain_s) == (2, 7)


def test_variables_of_another_process_are_read_in_place_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SERVER__PORT", "2")
    monkeypatch.setenv("GATEWAY_SERVER__HOST", "ours")
    file = tmp_path / "theirs.yaml"
    file.write_text("server:\n  drain_s: 7\n")
    settings = load_settings({"GATEWAY_CONFIG": str(file), "GATEWAY_SERVER__PORT": "3"})
    assert (settings.server.port, settings.server.drain_s, settings.server.host) == (3, 7, "127.0.0.1")
    with pytest.raises(SettingsError, match="GATEWAY_SERVER__POTR is no setting"):
        load_settings({"GATEWAY_SERVER__POTR": "3"})


def test_lists_are_json_or_have_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ACCESS__TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")
    monkeypatch.setenv("GATEWAY_UPSTREAM__URLS", '["http://a:1", "http://b:2"]')
    settings = load_settings()
    assert settings.access.trusted_proxies == ("10.0.0.0/8", "127.0.0.1")
    assert [url.host for url in settings.upstream.urls] == ["a", "b"]


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ACCESS__KEYS", "hunter2-hunter2-hunter2,other-secret-of-ours")
    monkeypatch.setenv("GATEWAY_ACCESS__STORAGE_URL", "redis://user:hunter2@redis:6379/0")
    text = to_yaml(load_settings())
    assert "hunter2" not in text and "other-secret" not in text
    assert yaml.safe_load(text)["access"]["storage_url"] == "redis://***@redis:6379/0"


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("redis://:hunt@er2@redis:6379/0", "redis://***@redis:6379/0"),  # a client cuts at the last @
        ("redis://:hunt/er2@redis", "redis://***@redis"),
        ("redis://redis/0?password=hunter2&x=1", "redis://redis/0?password=***&x=1"),
        ("redis://redis:6379/0", "redis://redis:6379/0"),
    ],
)
def test_no_part_of_a_password_is_shown(url: str, printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ACCESS__STORAGE_URL", url)
    assert yaml.safe_load(to_yaml(load_settings()))["access"]["storage_url"] == printed


def test_a_complaint_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_UPSTREAM__URLS", "ftp://me:hunter2@x")
    with pytest.raises(SettingsError, match=r"upstream\.urls\.0 is 'ftp://\*\*\*@x', must be"):
        load_settings()


def test_the_file_says_every_default_with_its_why() -> None:
    """config/gateway.yaml lists all keys with the values that hold without it, each with a comment."""
    content = yaml.safe_load(CONFIG_FILE.read_text())
    assert content == yaml.safe_load(to_yaml(Settings.model_construct()))
    for line in CONFIG_FILE.read_text().splitlines():
        if line.startswith("  "):
            assert " # " in line, f"no why: {line}"
