"""Whether sherpa-onnx can load a model and decode with it, found out in a process of its own."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from asr.config import ConfigError
from asr.engines.sherpa import recognizers
from asr.engines.sherpa.recognizers import Recipe

REQUIREMENTS = "requirements-families.txt"
TRIAL_S = 300.0  # for reading gigabytes from a slow disk
PLACE = re.compile(r"^\S+\.(cc|h):\S+:\d+ ")  # in the library's source, before its message


def try_out(recipe: Recipe, folder: Path) -> None:
    """Raises ConfigError with the library's last words where it fails."""
    if importlib.util.find_spec("sherpa_onnx") is None:
        raise ConfigError(
            f"{folder} is a model for sherpa-onnx, which is not installed: pip install -r {REQUIREMENTS}"
        )
    try:
        child = subprocess.run(
            [sys.executable, "-P", recognizers.__file__],
            input=recognizers.to_json(recipe),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRIAL_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"sherpa-onnx did not load {folder} within {TRIAL_S:.0f} s") from error
    if child.returncode != 0:
        raise ConfigError(f"sherpa-onnx cannot use {folder}: {_reason(child.stderr, child.returncode)}")


def _reason(stderr: str, returncode: int) -> str:
    lines = [PLACE.sub("", line).strip() for line in stderr.splitlines()]
    said = [line for line in lines if line and not line.startswith(("Traceback", "File ", "^"))]
    return said[-1] if said else f"its process ended with {returncode} and said nothing"
