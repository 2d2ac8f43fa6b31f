"""MODEL of the command line → where its weights lie: a file, a folder, or a name to download."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from asr.checkpoint_files import ADAPTER_CONFIG, FORMATS, Kind, kind_of
from scripts.serve import hub
from scripts.serve.adapters import base_of
from scripts.serve.serve_error import ServeError

DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's weights lie, or will lie."""

    checkpoint: Path
    adapter: Path | None = None  # merged into it at load
    hub_name: str | None = None  # of the checkpoint, which comes from Hugging Face


def weights_of(model: str, models_dir: Path, called_from: Path, source: str | None = None) -> Weights:
    """The weights of the demo, an OpenAI name, a path or a Hugging Face name; raises ServeError.

    A name that is not there yet gets the place that its first source would put it in.
    """
    if model == DEMO:
        return Weights(models_dir / "demo.pt")
    names = _download_module().CHECKPOINTS
    if model in names:
        return Weights(_named(model, models_dir, source))
    path = (called_from / Path(model).expanduser()).absolute()
    if path.exists():
        return _at(path)
    if hub.is_name(model):
        return Weights(hub.place(model), hub_name=model)
    if os.sep in model or model.endswith((".pt", ".pth")):
        raise ServeError(f"no checkpoint at {path}: give {FORMATS}")
    raise ServeError(
        f"unknown model {model!r}: use demo, a path to a checkpoint, org/name on Hugging Face, or one of "
        f"{', '.join(names)}"
    )


def _at(path: Path) -> Weights:
    """The weights in a folder or file that is there."""
    path = hub.snapshot(path) or path
    kind = kind_of(path)
    if kind is None:
        raise ServeError(f"{path} is a folder without a model: give {FORMATS}")
    if kind is not Kind.ADAPTER:
        return Weights(path)
    base = base_of(path)
    if isinstance(base, str):
        return Weights(hub.place(base), path, base)
    if kind_of(base) is Kind.ADAPTER:
        raise ServeError(f"{path / ADAPTER_CONFIG} names {base}, which is an adapter again: merge it first")
    return replace(_at(base), adapter=path)


def is_known(model: str) -> bool:
    """Whether it is known what `model` hears in a sample: the demo and OpenAI's own."""
    return model == DEMO or model in _download_module().CHECKPOINTS


def ensure_weights(
    model: str,
    weights: Weights,
    environ: Mapping[str, str],
    source: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Weights:
    """The weights of `model`, downloaded and verified where they come from elsewhere; raises ServeError."""
    if weights.hub_name is not None:
        found = _at(hub.fetch(weights.hub_name, say))
        if found.adapter is not None and weights.adapter is not None:
            raise ServeError(f"{weights.adapter} names {weights.hub_name}, which is an adapter again")
        weights = replace(found, adapter=weights.adapter or found.adapter)
        if weights.hub_name is not None:  # an adapter's base
            return ensure_weights(model, weights, environ, source, say)
        return weights
    return replace(weights, checkpoint=_ensure_checkpoint(model, weights.checkpoint, environ, source, say))


def _ensure_checkpoint(
    model: str,
    checkpoint: Path,
    environ: Mapping[str, str],
    source: str | None,
    say: Callable[[str], None],
) -> Path:
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
