"""`serve.sh --tune`, and the folder of its files, in which workers look."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from asr.checkpoint_files import Kind, kind_of
from scripts.serve.arguments import ServeOptions
from scripts.serve.serve_error import ServeError
from scripts.serve.served_models import fetched, served_models


def run_search(options: ServeOptions, root: Path, called_from: Path) -> NoReturn:
    """Becomes the search for the caller's checkpoint, fetched if need be; raises ServeError."""
    [served, *others] = fetched(served_models(options, root, called_from), options, os.environ, print)
    if others:
        raise ServeError("--tune measures one model at a time: name one")
    if served.weights.adapter is not None:
        raise ServeError(f"--tune measures no adapter: name the model that {served.weights.adapter} is for")
    if kind_of(served.weights.checkpoint) is Kind.SHERPA:
        raise ServeError(f"--tune measures Whisper alone: {served.weights.checkpoint} is {Kind.SHERPA.value}")
    device = options.device or "auto"
    arguments = ["-m", "tune", str(served.weights.checkpoint), "--device", str(device)]
    os.execv(sys.executable, [sys.executable, *arguments])


def put_folder(model_config: dict[str, Any], config_dir: Path) -> None:
    """Makes a worker look into config/tuned, unless model-config.yaml names another folder."""
    engine = model_config["handler"]["engine"]
    engine["tuning_dir"] = engine.get("tuning_dir") or str(config_dir / "tuned")
