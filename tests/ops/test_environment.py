"""Making the environment: once, by hash, torch by its version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import environment
from scripts.environment import EnvironmentFailure
from tests.ops.commands import ROOT, caller_environment
from tests.ops.wheels import wheel

pytestmark = pytest.mark.slow

LOCK = f"""# made
setuptools==2 \\
    --hash=sha256:{"a" * 64}
tqdm==3 \\
    --hash=sha256:{"b" * 64} \\
    --hash=sha256:{"c" * 64}
"""


@pytest.fixture
def requirements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A requirements file of a root of its own with its lock; the environment is `tmp_path/env`."""
    monkeypatch.delenv(environment.NEVER, raising=False)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    monkeypatch.setattr(environment, "active_python", lambda: python)
    file = tmp_path / "requirements.txt"
    file.write_text("# why\ntorch==1\nsetuptools==2 # builds\ntqdm==3\n")
    file.with_suffix(".lock").write_text(LOCK)
    return file


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was asked for: each call's arguments, requirements files replaced by their text."""
    calls: list[list[str]] = []

    def record(python: Path, arguments: list[str]) -> None:
        files = [Path(each).read_text() if "/" in each else each for each in arguments]
        calls.append([each for each in files if each != "-r"])

    monkeypatch.setattr(environment, "_pip", record)
    return calls


def test_the_build_tool_comes_first_and_torch_last(requirements: Path, pip: list[list[str]]) -> None:
    environment.ensure_environment([requirements], gpu=False)
    tool = f"setuptools==2 \\\n    --hash=sha256:{'a' * 64}\n"
    assert pip == [[*environment.BY_HASH, tool], [*environment.BY_HASH, LOCK], ["torch==1"]]


def test_the_second_run_installs_nothing_until_a_pin_changes(
    requirements: Path, pip: list[list[str]]
) -> None:
    environment.ensure_environment([requirements], gpu=False)
    pip.clear()
    environment.ensure_environment([requirements], gpu=False)
    assert pip == []
    requirements.write_text(requirements.read_text().replace("torch==1", "torch==2"))
    environment.ensure_environment([requirements], gpu=False)
    assert pip.pop() == ["torch==2"]
    lock = requirements.with_suffix(".lock")
    lock.write_text(LOCK.replace("b", "d"))
    environment.ensure_environment([requirements], gpu=False)
    assert pip[-2] == [*environment.BY_HASH, lock.read_text()]


def test_a_lock_that_is_not_made_from_its_file_is_refused(requirements: Path, pip: list[list[str]]) -> None:
    requirements.write_text(requirements.read_text().replace("tqdm==3", "tqdm==4"))
    with pytest.raises(EnvironmentFailure, match=r"pins tqdm==4, its lock has 3: run scripts/lock"):
        environment.ensure_environment([requirements], gpu=False)
    assert pip == []


def test_a_pin_may_be_in_the_lock_of_the_main_file(requirements: Path, pip: list[list[str]]) -> None:
    extra = requirements.with_name("requirements-extra.txt")
    extra.write_text("tqdm==3\nsrt==1\n")
    extra.with_suffix(".lock").write_text(f"srt==1 --hash=sha256:{'e' * 64}\n")
    environment.ensure_environment([extra], gpu=False)
    assert pip == [[*environment.BY_HASH, extra.with_suffix(".lock").read_text()]]


def test_a_file_without_a_lock_is_refused(requirements: Path, pip: list[list[str]]) -> None:
    requirements.with_suffix(".lock").unlink()
    with pytest.raises(EnvironmentFailure, match=r"requirements\.txt has no lock beside it"):
        environment.ensure_environment([requirements], gpu=False)
    assert pip == []


def test_a_failed_install_leaves_no_stamp(requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(python: Path, arguments: list[str]) -> None:
        raise EnvironmentFailure("pip failed")

    monkeypatch.setattr(environment, "_pip", fail)
    with pytest.raises(EnvironmentFailure):
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
    with pytest.raises(EnvironmentFailure, match="GB free, the requirements need"):
        environment.ensure_environment([requirements], gpu=False)
    assert pip == []


def test_a_failing_pip_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="pip failed with status 1"):
        environment._pip(Path(sys.executable), ["--no-index", "no-such-distribution-anywhere==1"])


def test_a_falsified_download_is_refused(
    requirements: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """pip itself: the lock of another file than the one it finds, then the right one."""
    digest = wheel(tmp_path / "wheels", "thing", "1")
    for name, value in (
        ("NO_INDEX", "1"),
        ("FIND_LINKS", tmp_path / "wheels"),
        ("TARGET", tmp_path / "target"),
    ):
        monkeypatch.setenv(f"PIP_{name}", str(value))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    requirements.write_text("thing==1\n")
    lock = requirements.with_suffix(".lock")
    lock.write_text(f"thing==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(EnvironmentFailure, match="not the file that the lock names"):
        environment.install(Path(sys.executable), requirements)
    assert "thing" in capfd.readouterr().err
    assert not (tmp_path / "target").exists()
    lock.write_text(f"thing==1 --hash=sha256:{digest}\n")
    environment.install(Path(sys.executable), requirements)
    assert (tmp_path / "target" / "thing-1.dist-info").is_dir()


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
