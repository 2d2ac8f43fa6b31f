"""Small text and JSON files beside weights, read whole; raises ConfigError that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr.config import ConfigError

MAX_TEXT_BYTES = 16_000_000  # OpenAI's vocabulary takes one, transformers' tokenizer.json two and a half


def read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise ConfigError(f"{str(file)!r} is larger than {MAX_TEXT_BYTES:,} bytes")
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(file)!r} cannot be read: {error}") from error


def read_json(file: Path) -> Any:
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{str(file)!r} is not JSON: {error}") from error


def read_table(file: Path) -> dict[str, Any]:
    """A JSON object."""
    content = read_json(file)
    if not isinstance(content, dict):
        raise ConfigError(f"{str(file)!r} must hold a JSON object")
    return content
