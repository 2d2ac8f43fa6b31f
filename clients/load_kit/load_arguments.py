"""The arguments that bulk_request and request_train share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from whisper_client.command_line import (
    add_request_arguments,
    add_server_arguments,
    positive_count,
    positive_number,
    whole_number,
)


def add_load_arguments(parser: argparse.ArgumentParser, *, otherwise: str = "") -> None:
    """The arguments of both programs; `otherwise` says how many requests there are without --count."""
    parser.add_argument("paths", nargs="*", metavar="FILE|DIR", help="audio files, folders of them, or both")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--count", type=positive_count, metavar="M", help=f"requests in all, per level{otherwise}"
    )
    length.add_argument(
        "--duration",
        type=positive_number,
        metavar="S",
        help="seconds during which requests start, per level; those under way are waited for",
    )
    parser.add_argument(
        "--mix",
        metavar="SHARES",
        help="3s:0.7,30s:0.2,talk.mp3:0.1: lengths cut from the files given, or files, with shares",
    )
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="of all chance (default: %(default)d)"
    )
    parser.add_argument(
        "--warm-up",
        type=whole_number,
        default=1,
        metavar="N",
        help="requests sent and checked first, not counted (default: %(default)d)",
    )
    _add_results(parser)
    add_request_arguments(parser, default_format="verbose_json")
    add_server_arguments(parser)


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument("--json", type=Path, metavar="FILE", help="write figures and all outcomes there")
    group.add_argument(
        "--png", type=Path, metavar="FILE", help="draw latency against throughput (needs matplotlib)"
    )
    group.add_argument(
        "--config", type=Path, metavar="DIR", help="the server's settings, hashed into the report"
    )
    group.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"),
        help="send nothing: compare two --json files; exit code 1 where B is worse",
    )  # fmt: skip
    group.add_argument(
        "--tolerance", type=positive_number, default=5.0, metavar="PERCENT",
        help="smaller changes count as none (default: %(default)g)",
    )  # fmt: skip


def parse_load(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; exits 2 if there is nothing to send."""
    arguments = parser.parse_args(argv)
    if not (arguments.paths or arguments.mix or arguments.compare):
        parser.error("give audio files or folders of them")
    return arguments
