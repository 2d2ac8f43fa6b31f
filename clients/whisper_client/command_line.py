"""Shared by all client programs: arguments for the server and the request, and one-line errors."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from whisper_client.client import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, DEFAULT_URL, WhisperClient, openai_url
from whisper_client.errors import BadArgument, ClientError

INTERRUPTED = 130  # 128 + SIGINT, as shells count


def make_parser(summary: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose --help ends with examples."""
    return argparse.ArgumentParser(
        description=summary,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_server_arguments(
    parser: argparse.ArgumentParser,
    url: str = DEFAULT_URL,
    kind: str = "prediction address of TorchServe, or an address that ends in /v1",
) -> None:
    """url, kind: the default address, and what addresses the program takes."""
    group = parser.add_argument_group("server")
    address = group.add_mutually_exclusive_group()
    address.add_argument(
        "--url",
        default=url,
        help=f"{kind} (default: %(default)s)",
    )
    address.add_argument(
        "--openai", metavar="URL", help="an OpenAI-compatible server instead, e.g. http://127.0.0.1:8000/v1"
    )
    group.add_argument(
        "--token",
        help="sent as 'Bearer TOKEN'; better in the variable WHISPER_TOKEN, where ps does not show it",
    )
    group.add_argument(
        "--timeout",
        type=positive_number,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds of silence from the server before a try counts as failed (default: %(default)g)",
    )
    group.add_argument(
        "--retries",
        type=whole_number,
        default=DEFAULT_RETRIES,
        metavar="N",
        help="further tries on 429, 502, 503, 504, 507, a dead worker, a timeout or a broken connection"
        " (default: %(default)d)",
    )


def add_request_arguments(parser: argparse.ArgumentParser, default_format: str) -> None:
    group = parser.add_argument_group("request")
    group.add_argument(
        "--format",
        default=default_format,
        metavar="NAME",
        help="json, text, srt, vtt, tsv or verbose_json (default: %(default)s)",
    )
    group.add_argument(
        "--model", metavar="NAME", help="for servers with several (default: whisper-1 on OpenAI's route)"
    )
    group.add_argument(
        "--language", metavar="CODE", help="spoken language, e.g. en or hi (default: detected)"
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        type=name_and_value,
        metavar="NAME=VALUE",
        help="any other form field; repeat the option, and repeat a name for a list",
    )


def token_of(arguments: argparse.Namespace) -> str | None:
    return arguments.token or os.environ.get("WHISPER_TOKEN")


def address_of(arguments: argparse.Namespace) -> str:
    """The address that takes uploads."""
    base = arguments.openai or (arguments.url if arguments.url.rstrip("/").endswith("/v1") else None)
    return openai_url(base) if base else str(arguments.url)


def make_client(arguments: argparse.Namespace) -> WhisperClient:
    """The client that the arguments describe; raises BadArgument."""
    return WhisperClient(
        address_of(arguments),
        token_of(arguments),
        timeout_s=arguments.timeout,
        retries=arguments.retries,
    )


def request_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Form fields by name; a name given more than once is a list. Raises BadArgument."""
    options: dict[str, Any] = {"response_format": arguments.format, "language": arguments.language}
    if arguments.model:
        options["model"] = arguments.model
    given: dict[str, list[str]] = {}
    for name, value in arguments.option:
        given.setdefault(name.removesuffix("[]"), []).append(value)
    for reserved, instead in (("response_format", "--format"), ("stream", "--stream"), ("file", "FILE")):
        if reserved in given:
            raise BadArgument(f"--option {reserved}=… is not for here: use {instead}")
    return options | {name: values if len(values) > 1 else values[0] for name, values in given.items()}


def run(program: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """The program's exit code; client errors become one line on stderr. (argparse itself exits with 2.)

    SIGTERM is taken as Ctrl-C: results so far are reported, and no temporary file is left.
    """
    if argv is None:  # as a program, not called by another
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # transcripts are in any script, whatever the locale
    try:
        code = program(argv)
        sys.stdout.flush()
        return code
    except ClientError as error:
        return report_error(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout (head, less) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def report_error(error: ClientError, subject: str = "") -> int:
    """Writes the error as one line to stderr and returns its exit code."""
    print(f"error: {subject}{': ' if subject else ''}{error}", file=sys.stderr)
    return error.exit_code


def check_writable(path: Path | None) -> None:
    """Raises BadArgument now rather than after an hour of load."""
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise BadArgument(f"cannot write {path}: give a file in a folder that exists")


def positive_number(text: str) -> float:
    number = _number(float, text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return number


def whole_number(text: str) -> int:
    number = int(_number(int, text))
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} must be 0 or more")
    return number


def positive_count(text: str) -> int:
    number = whole_number(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 must be 1 or more")
    return number


def name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE, e.g. beam_size=5")
    return name, value


def _number(kind: type[int] | type[float], text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
