"""serve.sh up to the point where it would start something: what it refuses, and in how many words."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import yaml

from tests.ops.commands import ROOT, last_line, serve
from tests.servers import free_ports

pytestmark = pytest.mark.slow


def ports() -> list[str]:
    """Arguments that keep a run clear of whatever listens on this machine."""
    options = ("--port", "--management-port", "--metrics-port", "--gateway-port")
    return [word for pair in zip(options, map(str, free_ports(4)), strict=True) for word in pair]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    file = tmp_path / "mine.pt"
    file.write_bytes(b"weights")
    return file


def test_help_has_examples_and_every_option() -> None:
    result = serve("--help")
    assert result.returncode == 0
    for text in ("./serve.sh demo", "--port", "--workers", "--device", "--precision", "--token-auth",
                 "--from", "WHISPER_FROM",
                 "--model-store", "--dry-run", "--print-config", "WHISPER_PORT"):  # fmt: skip
        assert text in result.stdout


def test_an_open_gateway_without_keys_is_refused_before_anything_is_fetched(checkpoint: Path) -> None:
    result = serve(str(checkpoint), "--dry-run", "--gateway-host", "0.0.0.0", *ports())
    assert result.returncode == 1
    assert "no API key is configured" in last_line(result.stderr)


def test_dry_run_says_what_would_be_done_and_does_nothing(checkpoint: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    result = serve(str(checkpoint), "--dry-run", *ports(), "--model-store", str(store))
    assert result.returncode == 0, result.stderr
    assert str(checkpoint) in result.stdout
    assert "bin/java" in result.stdout
    assert "nothing was started" in result.stdout
    assert not store.exists()


def test_print_config_shows_the_command_line_in_the_files(checkpoint: Path) -> None:
    result = serve(str(checkpoint), "--print-config", "--port", "9321", "--workers", "3",
                   "--device", "cpu", "--precision", "float32")  # fmt: skip
    assert result.returncode == 0, result.stderr
    properties, _, model_yaml = result.stdout.partition("# model-config.yaml")
    assert "inference_address=http://127.0.0.1:9321" in properties.splitlines()
    assert "number_of_gpu=0" in properties.splitlines()
    config = yaml.safe_load(model_yaml)
    assert (config["minWorkers"], config["maxWorkers"]) == (3, 3)
    engine = config["handler"]["engine"]
    assert (engine["model"], engine["workers"]) == (str(checkpoint), 3)
    assert (engine["device"], engine["precision"]) == ("cpu", "float32")


def test_a_variable_stands_for_an_option_and_the_command_line_wins(checkpoint: Path) -> None:
    result = serve("--print-config", "--workers", "2", WHISPER_MODEL=str(checkpoint), WHISPER_WORKERS="4",
                   WHISPER_MANAGEMENT_PORT="9555", WHISPER_TOKEN_AUTH="true")  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "minWorkers: 2" in result.stdout
    assert "management_address=http://127.0.0.1:9555" in result.stdout
    assert "disable_token_authorization=false" in result.stdout
    assert str(checkpoint) in result.stdout


def test_without_a_name_it_is_base() -> None:
    result = serve("--dry-run", *ports())
    assert result.returncode == 0, result.stderr
    assert re.match(rf"model       base: {ROOT}/whisper-models/base(\.pt)? ", result.stdout)


def test_a_folder_in_ctranslate2s_format_is_a_model_and_another_is_not(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert "is a folder without a model" in refused(str(tmp_path / "mine"))
    (tmp_path / "mine" / "model.bin").write_bytes(b"weights")
    result = serve("mine", "--print-config", cwd=tmp_path)
    assert f"model: {tmp_path}/mine\n" in result.stdout


def test_a_relative_path_is_the_callers(checkpoint: Path) -> None:
    result = serve("mine.pt", "--print-config", cwd=checkpoint.parent)
    assert f"model: {checkpoint}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "80a"], "'80a' is not a port, must be 1 to 65535"),
        (["--port", "70000"], "'70000' is not a port"),
        (["--workers", "0"], "'0' must be a whole number above 0"),
        (["--device", "gpu"], "'gpu' must be auto, cpu, cuda or cuda:N"),
        (["--precision", "int3"], "invalid choice: 'int3'"),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_a_bad_option_is_refused_by_name(arguments: list[str], said: str) -> None:
    result = serve(*arguments)
    assert result.returncode == 2
    assert said in last_line(result.stderr)


def test_a_bad_variable_is_refused_like_its_option() -> None:
    result = serve("--dry-run", WHISPER_PORT="many")
    assert result.returncode == 2
    assert "--port: 'many' is not a port" in last_line(result.stderr)
    result = serve("--dry-run", WHISPER_TOKEN_AUTH="perhaps")
    assert result.returncode == 2
    assert "WHISPER_TOKEN_AUTH is 'perhaps'" in last_line(result.stderr)


def refused(*arguments: str, **environ: str) -> str:
    """The one line with which serve.sh ends."""
    result = serve(*arguments, **environ)
    assert result.returncode == 1, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_an_unknown_model_is_refused_with_the_known_names() -> None:
    line = refused("hugebig")
    assert "unknown model 'hugebig'" in line
    assert "large-v3-turbo" in line


def test_a_path_without_a_file_is_refused() -> None:
    assert "no checkpoint at" in refused("does/not/exist.pt")


@pytest.mark.parametrize("option", ["--port", "--management-port", "--metrics-port"])
def test_a_port_in_use_is_one_line_that_names_the_option(option: str, checkpoint: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        line = refused(str(checkpoint), *ports(), option, str(port))
    assert f"127.0.0.1:{port} is in use" in line
    assert option in line


def test_two_addresses_on_one_port_are_refused(checkpoint: Path) -> None:
    chosen = ports()  # --port first
    assert f"share port {chosen[1]}" in refused(str(checkpoint), *chosen, "--metrics-port", chosen[1])


@pytest.mark.parametrize("option", ["--host", "--management-host", "--metrics-host"])
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "no-such-host.invalid"])
def test_an_open_address_is_refused_without_token_authorization(
    option: str, host: str, checkpoint: Path
) -> None:
    line = refused(str(checkpoint), *ports(), option, host)
    assert "token authorization is off" in line
    assert "--token-auth" in line


def test_an_open_address_is_accepted_with_token_authorization(checkpoint: Path) -> None:
    result = serve(str(checkpoint), *ports(), "--host", "0.0.0.0", "--token-auth", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "keys        on" in result.stdout


def test_loopback_by_another_name_is_accepted(checkpoint: Path) -> None:
    result = serve(str(checkpoint), *ports(), "--host", "localhost", "--dry-run")
    assert result.returncode == 0, result.stderr


def test_an_unsupported_python_is_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = serve("--dry-run", PYTHON=str(old))
    assert result.returncode == 1
    assert (
        result.stderr.strip()
        == f"Python 3.11, 3.12 or 3.13 is needed, PYTHON={old} is not one: point PYTHON at one"
    )


def test_a_configuration_that_would_stop_the_worker_stops_serve_sh(tmp_path: Path) -> None:
    from asr.config import HandlerConfig
    from scripts.serve import settings
    from scripts.serve.serve_error import ServeError

    config = settings.read_model_config(ROOT / "config" / "model-config.yaml")
    assert HandlerConfig.from_mapping(config["handler"])
    config["handler"]["engine"]["precison"] = "auto"
    with pytest.raises(ServeError, match=r"handler\.engine\.precison is unknown: did you mean precision\?"):
        settings.check_handler_section(config)
