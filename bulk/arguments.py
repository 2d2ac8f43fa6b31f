"""The command line of `python -m bulk`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bulk_rows.folder_run import VERBOSE_JSON, add_rows_arguments
from whisper_client.client import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S
from whisper_client.command_line import (
    add_request_arguments,
    make_parser,
    positive_count,
    positive_number,
    whole_number,
)

EXAMPLES = """\
  python -m bulk talks/ --to out/
  python -m bulk s3://talks/list.parquet --to s3://talks/out --url http://a:8000/v1 --url http://b:8000/v1
  python -m bulk list.jsonl --to /shared/out --address 10.0.0.1:6379 --actors 8 --in-flight 64
  python -m bulk list.jsonl --to /shared/out --engine actors --checkpoint base.pt --gpus-per-actor 1"""
DEFAULT_URL = "http://127.0.0.1:8000/v1"
GATEWAY_BLOCK = 4
ENGINE_BLOCK = 16  # its windows share batches


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        "Transcribe many files over a Ray cluster; a run goes on where the last one ended.", EXAMPLES
    )
    parser.add_argument(
        "sources", nargs="+", metavar="MANIFEST|DIR|FILE", help="what to transcribe; s3:// and gs:// too"
    )
    add_rows_arguments(parser)
    parser.add_argument(
        "--output",
        choices=("parquet", "jsonl"),
        default="parquet",
        help="of the finished rows (default: %(default)s)",
    )
    _add_cluster(parser)
    _add_gateways(parser)
    _add_engine(parser)
    add_request_arguments(parser, default_format=VERBOSE_JSON)
    arguments = parser.parse_args(argv)
    if arguments.to is None:
        parser.error("give a folder with --to")
    if (arguments.engine == "actors") != (arguments.checkpoint is not None):
        parser.error("--engine actors and --checkpoint go together")
    arguments.urls = arguments.urls or [DEFAULT_URL]
    is_engine = arguments.engine == "actors"
    arguments.block = arguments.block or (ENGINE_BLOCK if is_engine else GATEWAY_BLOCK)
    return arguments


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cluster")
    group.add_argument(
        "--address",
        help="a running cluster, HOST:6379 or auto (default: RAY_ADDRESS, else a cluster of this machine)",
    )
    group.add_argument(
        "--engine", choices=("gateway", "actors"), default="gateway",
        help="actors: the model is in the actors, without servers (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--actors", type=positive_count, default=2, metavar="N", help="at most (default: %(default)d)"
    )
    group.add_argument(
        "--block", type=positive_count, metavar="K",
        help=f"files written together; default: {GATEWAY_BLOCK}, with --engine actors {ENGINE_BLOCK}",
    )  # fmt: skip


def _add_gateways(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("gateways")
    group.add_argument(
        "--url", action="append", dest="urls", metavar="URL",
        help=f"a gateway's …/v1; repeat it for several (default: {DEFAULT_URL})",
    )  # fmt: skip
    group.add_argument(
        "--in-flight",
        type=positive_count,
        default=16,
        metavar="N",
        help="requests of one actor (default: %(default)d)",
    )
    group.add_argument("--token", help="sent as 'Bearer TOKEN'; better in the variable WHISPER_TOKEN")
    group.add_argument(
        "--timeout",
        type=positive_number,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds of silence before a try counts as failed (default: %(default)g)",
    )
    group.add_argument(
        "--retries",
        type=whole_number,
        default=DEFAULT_RETRIES,
        metavar="N",
        help="further tries of one request (default: %(default)d)",
    )


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine in actors")
    group.add_argument("--checkpoint", metavar="FILE", help="the model, at the same path on every machine")
    group.add_argument("--gpus-per-actor", type=positive_number, metavar="N", help="default: none, a CPU")
    group.add_argument(
        "--cpus-per-actor",
        type=positive_count,
        default=1,
        metavar="N",
        help="and threads (default: %(default)d)",
    )
