"""Making the environment: once, from exact files, without triton where nothing uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import environment
from tests.ops.commands import ROOT, caller_environment


@pytest.fixture()
def requirements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A requirements file of a root of its own, and an environment directory that is `tmp_path/env`."""
    monkeypatch.delenv(environment.NEVER, raising=False)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    monkeypatch.setattr(environment, "active_python", lambda: python)
    file = tmp_path / "requirements.txt"
    file.write_text("# why\ntorch==1\nopenai-whisper==2\ntqdm==3\n")
    return file


@pytest.fixture()
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was asked for: each call's arguments, requirements files replaced by their lines."""
    calls: list[list[str]] = []

    def record(python: Path, arguments: list[str]) -> None:
        lines = Path(arguments[1]).read_text().split() if arguments[0] == "-r" else arguments
        calls.append(lines)

    monkeypatch.setattr(environment, "_pip", record)
    return calls


def test_without_a_gpu_whisper_comes_without_its_dependencies(
    requirements: Path, pip: list[list[str]]
) -> None:
    environment.ensure_environment([requirements], gpu=False)
    assert pip == [["torch==1", "tqdm==3"], ["--no-deps", "openai-whisper==2"]]


def test_with_a_gpu_everything_is_installed_as_written(requirements: Path, pip: list[list[str]]) -> None:
    environment.ensure_environment([requirements], gpu=True)
    assert pip == [["torch==1", "openai-whisper==2", "tqdm==3"]]


def test_the_second_run_installs_nothing_until_a_pin_changes(
    requirements: Path, pip: list[list[str]]
) -> None:
    environment.ensure_environment([requirements], gpu=False)
    pip.clear()
    environment.ensure_environment([requirements], gpu=False)
    assert pip == []
    requirements.write_text(requirements.read_text().replace("tqdm==3", "tqdm==4"))
    environment.ensure_environment([requirements], gpu=False)
    assert pip[0] == ["torch==1", "tqdm==4"]


def test_a_failed_install_leaves_no_stamp(requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(python: Path, arguments: list[str]) -> None:
        raise environment.EnvironmentFailure("pip failed")

    monkeypatch.setattr(environment, "_pip", fail)
    monkeypatch.setattr(environment, "has_gpu", lambda: False)
    with pytest.raises(environment.EnvironmentFailure):
        environment.ensure_environment([requirements], gpu=False)
    assert environment.not_installed([requirements]) == ["requirements.txt"]


def test_an_image_takes_its_environment_as_it_is(
    requirements: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environment.NEVER, "no")
    environment.ensure_environment([requirements], gpu=True)
    assert pip == []
    assert environment.not_installed([requirements]) == []


def test_a_full_disk_is_one_line_before_pip_runs(
    requirements: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(environment.NEEDED_BYTES, False, 10**18)
    with pytest.raises(environment.EnvironmentFailure, match="GB free, the requirements need"):
        environment.ensure_environment([requirements], gpu=False)
    assert pip == []


def test_a_failing_pip_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(environment.EnvironmentFailure, match="pip failed with status 1"):
        environment._pip(Path(sys.executable), ["--no-index", "no-such-distribution-anywhere==1"])


def test_what_whisper_needs_is_named_beside_it() -> None:
    """Installed without dependencies on CPUs, it must find all of them but triton in requirements.txt."""
    from importlib.metadata import requires

    needs = {line.split(";")[0].split(">")[0].split("=")[0].strip()
             for line in requires("openai-whisper") or [] if "extra ==" not in line}  # fmt: skip
    named = {line.partition("==")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()}
    assert needs - {"triton"} <= named


def test_the_environment_is_made_where_there_is_none(tmp_path: Path) -> None:
    python = environment.make_venv(tmp_path / "venv")
    assert subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode == 0
    marker = tmp_path / "venv" / "marker"
    marker.touch()
    assert environment.make_venv(tmp_path / "venv") == python
    assert marker.exists(), "a whole environment must not be made again"


def test_a_half_made_environment_is_made_again(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert environment.make_venv(tmp_path / "venv") == python
    assert subprocess.run([str(python), "-c", "import pip"], capture_output=True).returncode == 0


def test_the_install_script_prints_the_python_and_nothing_else() -> None:
    result = subprocess.run([str(ROOT / "scripts" / "install")], env=caller_environment(),
                            capture_output=True, text=True, timeout=280)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{sys.prefix}/bin/python\n"
