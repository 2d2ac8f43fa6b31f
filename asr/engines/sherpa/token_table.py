"""tokens.txt: a line of token and number for each output of a model."""

from __future__ import annotations

from pathlib import Path

from asr.config import ConfigError

MAX_BYTES = 64 << 20
BLANKS = ("<blk>", "<eps>", "<blank>")


def read_tokens(file: Path) -> dict[int, str]:
    """Number → token; raises ConfigError for a table that the library would end the process for."""
    if file.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{file} has {file.stat().st_size} bytes, too many for a table of tokens")
    tokens: dict[int, str] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text: {error.reason}") from error
    for number, line in enumerate(lines, 1):
        *token, index = line.split() or [""]  # of a blank, only the number is left
        if len(token) > 1 or not index.isascii() or not index.isdecimal():
            raise ConfigError(f"{file}, line {number} is {line[:80]!r}, must be a token and its number")
        tokens[int(index)] = token[0] if token else " "
    if not tokens:
        raise ConfigError(
            f"{file} is empty, must have a line of token and number for each of the model's outputs"
        )
    return tokens
