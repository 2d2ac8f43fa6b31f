"""The command `python -m gateway.access.keys`: makes a key, or the digest of one."""

from __future__ import annotations

import argparse
import secrets
import sys

from pydantic import ValidationError

from gateway.access.key_entry import KeyEntry, key_digest

PREFIX = "wsk-"  # tells secret scanners and people what it is


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.access.keys",
        description="Makes API keys for the file that access.keys_file names.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="a new key and its entry for the keys file")
    new.add_argument("name", metavar="NAME", help="who gets it; letters, digits, dot, dash, underscore")
    commands.add_parser("hash", help="the sha256 of a key read from standard input")
    options = parser.parse_args(arguments)
    if options.command == "hash":
        print(key_digest(sys.stdin.readline().strip()))
        return 0
    return _new(options.name)


def _new(name: str) -> int:
    key = PREFIX + secrets.token_urlsafe(32)
    try:
        entry = KeyEntry(name=name, sha256=key_digest(key))
    except ValidationError:
        print(
            f"NAME is {name!r}, must be 1 to 64 letters, digits, dots, dashes, underscores", file=sys.stderr
        )
        return 2
    print(f"# {key}   <- for {name}, shown only now\n  - name: {entry.name}\n    sha256: {entry.sha256}")
    return 0
