"""whisper.mar: code and configuration, no weights, rebuilt only when something in it changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from scripts.serve import archive, settings
from scripts.serve.serve_error import ServeError
from scripts.serve.settings import Paths
from tests.ops.commands import ROOT

SCRIPT = ROOT / "model-archiver" / "create_model_archive.sh"
STANDIN = ROOT / "tests" / "live" / "serve" / "standin"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A server of the stand-in handler that was set up but not started."""
    shutil.copytree(STANDIN, tmp_path, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    handler = tmp_path / "handler"
    paths = Paths(ROOT, ROOT / "config", handler, tmp_path / "store", tmp_path / "run", tmp_path / "logs")
    settings.prepare(paths, {}, {"whisper": {"minWorkers": 1, "maxWorkers": 1, "handler": {}}})
    return paths


def test_a_file_that_moved_is_a_change(paths: Paths) -> None:
    """Its name and bytes are as before, and so is its turn among the others."""
    before = archive.fingerprint(paths)
    (paths.core_dir / "__init__.py").rename(paths.core_dir / "__main__.py")
    assert archive.fingerprint(paths) != before


def create(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "PYTHON": sys.executable, **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_archive_of_the_handler_is_complete_and_has_no_weights(tmp_path: Path) -> None:
    result = create(ROOT / "config" / "model-config.yaml", tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "whisper.mar")
    with zipfile.ZipFile(tmp_path / "whisper.mar") as mar:
        names = set(mar.namelist())
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))
        config = yaml.safe_load(mar.read("model-config.yaml"))
    sources = {
        str(file.relative_to(base))
        for base, folder in ((ROOT / "handler", ROOT / "handler"), (ROOT, ROOT / "asr"))
        for file in folder.rglob("*.py")
        if "__pycache__" not in file.parts
    }
    assert sources <= names
    assert not [name for name in names if name.endswith((".pt", ".pyc"))]
    assert manifest["model"]["handler"] == "whisper_handler.py"
    assert manifest["model"]["configFile"] == "model-config.yaml"
    assert manifest["model"]["modelName"] == "whisper"
    assert config["batchSize"] >= 1
    assert (tmp_path / "whisper.mar").stat().st_size < 20_000_000


def test_the_archiver_does_not_delete_what_others_keep_in_the_temporary_directory(
    paths: Paths, tmp_path: Path
) -> None:
    """torch-model-archiver removes $TMPDIR/<model name> without asking."""
    bystander = tmp_path / "tmp" / "whisper" / "precious"
    bystander.parent.mkdir(parents=True)
    bystander.write_text("kept")
    result = create(paths.model_config_file, tmp_path, paths.handler_dir, TMPDIR=str(tmp_path / "tmp"))
    assert result.returncode == 0, result.stderr
    assert bystander.read_text() == "kept"
    assert os.listdir(tmp_path / "tmp") == ["whisper"]


def test_weights_in_the_handler_are_refused(paths: Paths, tmp_path: Path) -> None:
    (paths.core_dir / "tiny.pt").write_bytes(b"weights")
    result = create(paths.model_config_file, tmp_path, paths.handler_dir)
    assert result.returncode == 1
    assert "weights do not belong in the archive: ['asr/tiny.pt']" in result.stderr
    assert not (tmp_path / "whisper.mar").exists()


def test_caches_and_hidden_files_stay_out(paths: Paths, tmp_path: Path) -> None:
    for name in ("asr/__pycache__/x.pyc", "handler/.mypy_cache/y.json", "asr/.secret"):
        file = paths.core_dir.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    result = create(paths.model_config_file, tmp_path, paths.handler_dir)
    assert result.returncode == 0, result.stderr
    names = set(zipfile.ZipFile(tmp_path / "whisper.mar").namelist())
    files = {name for name in names if not name.endswith("/")}
    assert files == {"asr/__init__.py", "whisper_handler.py", "model-config.yaml", "MAR-INF/MANIFEST.json"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/no/such.yaml"], "no model configuration at"),
        ([ROOT / "config" / "model-config.yaml", "/tmp", "/"], "no whisper_handler.py in"),
    ],
)
def test_what_is_missing_is_one_line(arguments: list[object], said: str) -> None:
    result = create(*arguments)
    assert result.returncode == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_interpreter_without_the_archiver_is_told_what_to_install(tmp_path: Path) -> None:
    result = create(PYTHON="/bin/false")
    assert result.returncode == 1
    assert "model-archiver/requirements.txt" in result.stderr


def test_it_is_rebuilt_only_when_an_input_changed(paths: Paths) -> None:
    assert archive.ensure_archive(paths)
    assert not archive.ensure_archive(paths)

    (paths.core_dir / "new.py").write_text("VALUE = 1\n")
    assert archive.ensure_archive(paths)
    assert not archive.ensure_archive(paths)

    settings.write_model_config(paths.model_config_file, {"minWorkers": 2, "maxWorkers": 2, "handler": {}})
    assert archive.ensure_archive(paths)

    (paths.model_store / archive.ARCHIVE).unlink()
    assert archive.ensure_archive(paths)

    (paths.model_store / archive.ARCHIVE).write_bytes(b"another server's")
    assert archive.ensure_archive(paths)
    assert zipfile.is_zipfile(paths.model_store / archive.ARCHIVE)


def test_a_failed_build_is_one_line(paths: Paths) -> None:
    (paths.handler_dir / "whisper_handler.py").unlink()
    with pytest.raises(ServeError, match=r"building whisper\.mar failed: .*no whisper_handler\.py"):
        archive.ensure_archive(paths)
