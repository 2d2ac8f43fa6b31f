"""MODEL of the command line → a checkpoint file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from scripts.serve.errors import ServeError

DEMO = "demo"


def checkpoint_path(model: str, models_dir: Path, called_from: Path) -> Path:
    """Where the checkpoint `model` is or will be: the demo, an OpenAI name, or a path; raises ServeError."""
    if model == DEMO:
        return models_dir / "demo.pt"
    table = _download_module().CHECKPOINTS
    if model in table:
        return models_dir / str(table[model][1])
    path = (called_from / Path(model).expanduser()).absolute()
    if path.is_file():
        return path
    if os.sep in model or model.endswith((".pt", ".pth")):
        raise ServeError(f"no checkpoint at {path}: give a path to a file in OpenAI's format")
    raise ServeError(
        f"unknown model {model!r}: use demo, a path to a checkpoint, or one of {', '.join(table)}"
    )


def ensure_checkpoint(model: str, checkpoint: Path, environ: Mapping[str, str]) -> None:
    """Downloads and verifies `checkpoint` if `model` is one of OpenAI's; raises ServeError."""
    download = _download_module()
    if model in download.CHECKPOINTS:
        base_url = environ.get("WHISPER_MODELS_URL") or download.BASE_URL
        try:
            download.download_model(
                model, checkpoint.parent, base_url=base_url, progress=download.ProgressBar(model)
            )
        except download.DownloadError as error:
            raise ServeError(str(error)) from error
    elif not checkpoint.is_file():
        raise ServeError(f"{checkpoint} is missing: the clone is not complete, or name another model")
    if not os.access(checkpoint, os.R_OK):
        raise ServeError(f"{checkpoint} cannot be read by this user: change its permissions")


def _download_module():  # type: ignore[no-untyped-def]
    """clients/download_model.py: a program of its own, whose folder is not a package."""
    clients = str(Path(__file__).resolve().parents[2] / "clients")
    if clients not in sys.path:
        sys.path.insert(0, clients)
    import download_model

    return download_model
