"""Which model a LoRA adapter was trained on."""

from __future__ import annotations

import json
from pathlib import Path

from asr.checkpoint_files import ADAPTER_CONFIG
from scripts.serve import hub
from scripts.serve.serve_error import ServeError


def base_of(adapter: Path) -> Path | str:
    """An adapter's base: a path that is there, or a name on Hugging Face; raises ServeError."""
    file = adapter / ADAPTER_CONFIG
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        base = content["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServeError(f"{file} must be JSON with base_model_name_or_path, the adapter's model") from error
    if not isinstance(base, str) or not base:
        raise ServeError(f"{file}: base_model_name_or_path is {base!r}, must be a path or org/name")
    path = adapter / Path(base).expanduser()
    if path.exists():
        return path.resolve()
    if hub.is_name(base):
        return base
    raise ServeError(
        f"{file} names {base!r} as its base_model_name_or_path, where there is nothing: write the path of "
        "the model that the adapter was trained on"
    )
