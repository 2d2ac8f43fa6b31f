"""The command `python -m gateway.access.keys`: makes a key, or the digest of one."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from pydantic import ValidationError

from gateway.access.key_file import KeyEntry, key_digest, read_key_file
from gateway.settings import SettingsError

PREFIX = "wsk-"  # by which people and secret scanners recognise a key
MISTAKE = 2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.access.keys",
        description="Makes API keys for the file that access.keys_file names.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="a new key and its entry for the keys file")
    new.add_argument("name", metavar="NAME", help="who gets it; letters, digits, dot, dash, underscore")
    new.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        nargs="?",
        help="keys file that gets the entry; made if need be",
    )
    commands.add_parser("hash", help="the sha256 of a key read from standard input")
    options = parser.parse_args(arguments)
    if options.command == "hash":
        print(key_digest(sys.stdin.readline().strip()))
        return 0
    return _new(options.name, options.file)


def _new(name: str, file: Path | None) -> int:
    key = PREFIX + secrets.token_urlsafe(32)
    try:
        entry = KeyEntry(name=name, sha256=key_digest(key))
    except ValidationError:
        print(
            f"NAME is {name!r}, must be 1 to 64 letters, digits, dots, dashes, underscores", file=sys.stderr
        )
        return MISTAKE
    lines = f"  - name: {entry.name}\n    sha256: {entry.sha256}\n"
    if file is None:
        print(f"# {key}   <- for {name}, shown only now\n{lines}", end="")
        return 0
    try:
        _append(lines, file)
    except (OSError, SettingsError) as error:
        print(f"nothing was added: {error}", file=sys.stderr)
        return MISTAKE
    print(f"{key}   <- for {name}, shown only now; {file} has its hash")
    return 0


def _append(lines: str, file: Path) -> None:
    """Adds an entry to the keys file. If the file would be invalid, it stays as it was; raises
    SettingsError."""
    before = file.read_text(encoding="utf-8") if file.exists() else None
    text = before or "keys:\n"
    file.write_text(text + ("" if text.endswith("\n") else "\n") + lines, encoding="utf-8")
    try:
        read_key_file(file)
    except SettingsError:
        if before is None:
            file.unlink()
        else:
            file.write_text(before, encoding="utf-8")
        raise
