"""MODEL of the command line → a checkpoint: a file in OpenAI's format, or a folder in CTranslate2's."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from scripts.serve.serve_error import ServeError

DEMO = "demo"
CTRANSLATE2_FILE = "model.bin"


def checkpoint_path(model: str, models_dir: Path, called_from: Path, source: str | None = None) -> Path:
    """Where the checkpoint `model` lies: the demo, an OpenAI name, or a path; raises ServeError.

    An OpenAI name that is not there yet gets the place that its first source would put it in.
    """
    if model == DEMO:
        return models_dir / "demo.pt"
    download = _download_module()
    names = download.CHECKPOINTS
    if model in names:
        return _named(model, models_dir, source)
    path = (called_from / Path(model).expanduser()).absolute()
    if path.is_file() or (path / CTRANSLATE2_FILE).is_file():
        return path
    if path.is_dir():
        raise ServeError(f"{path} is a folder without {CTRANSLATE2_FILE}: give CTranslate2's, or a file")
    if os.sep in model or model.endswith((".pt", ".pth")):
        raise ServeError(
            f"no checkpoint at {path}: give a file in OpenAI's format or a folder in CTranslate2's"
        )
    raise ServeError(
        f"unknown model {model!r}: use demo, a path to a checkpoint, or one of {', '.join(names)}"
    )


def is_known(model: str) -> bool:
    """Whether it is known what `model` hears in a sample: the demo and OpenAI's own."""
    return model == DEMO or model in _download_module().CHECKPOINTS


def ensure_checkpoint(
    model: str,
    checkpoint: Path,
    environ: Mapping[str, str],
    source: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Path of the checkpoint, downloaded and verified if `model` is one of OpenAI's; raises ServeError."""
    download = _download_module()
    if model in download.CHECKPOINTS:
        base_url = environ.get("WHISPER_MODELS_URL") or download.BASE_URL
        try:
            checkpoint = download.download_model(
                model,
                checkpoint.parent,
                source=source,
                base_url=base_url,
                progress=download.ProgressBar(model),
                say=say,
            )
        except download.DownloadError as error:
            raise ServeError(str(error)) from error
    elif not checkpoint.exists():
        raise ServeError(f"{checkpoint} is missing: the clone is not complete, or name another model")
    if not os.access(checkpoint, os.R_OK):
        raise ServeError(f"{checkpoint} cannot be read by this user: change its permissions")
    return checkpoint


def _named(model: str, models_dir: Path, source: str | None) -> Path:
    download = _download_module()
    try:
        places: list[Path] = download.places(model, models_dir, source)
    except download.DownloadError as error:
        raise ServeError(str(error)) from error
    return next((path for path in places if path.exists()), places[0])


def _download_module() -> ModuleType:
    """clients/download_model.py: a program of its own, whose folder is not a package."""
    clients = str(Path(__file__).resolve().parents[2] / "clients")
    if clients not in sys.path:
        sys.path.insert(0, clients)
    import download_model

    return download_model
