"""whisper.mar, built when the handler or its configuration changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from scripts.serve.serve_error import ServeError
from scripts.serve.settings import Paths

ARCHIVE = "whisper.mar"
MODEL = "whisper"


def ensure_archive(paths: Paths, name: str = MODEL) -> bool:
    """Builds NAME.mar from the handler and the model's model-config.yaml; False if it is up to date."""
    inputs = fingerprint(paths, name)
    stamp = paths.model_store / f".{name}.mar.inputs"
    archive = paths.model_store / f"{name}.mar"
    if archive.is_file() and stamp.is_file() and stamp.read_text() == _stamp_text(inputs, archive):
        return False
    script = paths.root / "model-archiver" / "create_model_archive.sh"
    result = subprocess.run(
        [str(script), str(paths.model_config_of(name)), str(paths.model_store), str(paths.handler_dir), name],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise ServeError(f"building {archive.name} failed: {lines[-1]}")
    stamp.write_text(_stamp_text(inputs, archive))
    return True


def fingerprint(paths: Paths, name: str = MODEL) -> str:
    """SHA-256 over everything that goes into the archive: paths and bytes."""
    digest = hashlib.sha256()
    script = paths.root / "model-archiver" / "create_model_archive.sh"
    named = {str(file.relative_to(folder.parent)): file
             for folder in (paths.core_dir, paths.handler_dir) for file in _code(folder)}  # fmt: skip
    for what, file in {**named, "config": paths.model_config_of(name), "script": script}.items():
        digest.update(f"{what}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _code(folder: Path) -> list[Path]:
    """What create_model_archive.sh takes of a folder: no caches, nothing hidden."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and not any(part == "__pycache__" or part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _stamp_text(inputs: str, archive: Path) -> str:
    """Hash of inputs and archive: another server's archive in the same store is not taken for ours."""
    return f"{inputs} {hashlib.sha256(archive.read_bytes()).hexdigest()}"
