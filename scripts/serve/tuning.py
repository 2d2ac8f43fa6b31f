"""`serve.sh --tune`, and the folder of its files, in which workers look."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from scripts.serve import models
from scripts.serve.arguments import ServeOptions


def run_search(options: ServeOptions, root: Path, called_from: Path) -> NoReturn:
    """Becomes the search for the caller's checkpoint, fetched if need be; raises ServeError."""
    device = options.device or "auto"
    path = models.checkpoint_path(options.model, root / "whisper-models", called_from, options.source)
    checkpoint = models.ensure_checkpoint(options.model, path, os.environ, options.source)
    arguments = ["-m", "tune", str(checkpoint), "--device", str(device)]
    os.execv(sys.executable, [sys.executable, *arguments])


def put_folder(model_config: dict[str, Any], config_dir: Path) -> None:
    """Makes a worker look into config/tuned, unless model-config.yaml names another folder."""
    engine = model_config["handler"]["engine"]
    engine["tuning_dir"] = engine.get("tuning_dir") or str(config_dir / "tuned")
