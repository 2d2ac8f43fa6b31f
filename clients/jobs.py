#!/usr/bin/env python3
"""Transcribes files in a batch that goes on without this program: submit, status, wait, cancel, fetch.

Exit code: 0 when all went well, 1 when a file or the batch failed, 2 when a file or option is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from whisper_client.batch_jobs import DEFAULT_URL, BatchJobs, LineResult, names_of
from whisper_client.command_line import (
    add_request_arguments,
    add_server_arguments,
    make_parser,
    request_options,
    run,
    token_of,
)
from whisper_client.errors import BadArgument

EXAMPLES = """\
  python clients/jobs.py submit talks/ interview.mp3 --language en    # prints the batch's id
  python clients/jobs.py submit talks/ --format srt --wait --out subtitles/
  python clients/jobs.py status                                       # the newest batches
  python clients/jobs.py wait batch_6f1c2b0a
  python clients/jobs.py fetch batch_6f1c2b0a --out texts/
  python clients/jobs.py cancel batch_6f1c2b0a"""
SUFFIXES = {"text": ".txt", "srt": ".srt", "vtt": ".vtt", "tsv": ".tsv"}
FORMAT = "format"  # in the batch's metadata: `fetch` names its files by it


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    base = arguments.openai or arguments.url
    with BatchJobs(base, token_of(arguments), timeout_s=arguments.timeout, retries=arguments.retries) as jobs:
        code: int = arguments.action(jobs, arguments)
        return code


def submit(jobs: BatchJobs, arguments: argparse.Namespace) -> int:
    """Uploads the files, makes the batch and prints its id."""
    named = names_of(arguments.files)
    options = {name: value for name, value in request_options(arguments).items() if value is not None}
    with _bar(len(named), "uploading") as bar:
        uploaded = {}
        for name, file_id in jobs.upload_all(named):
            uploaded[name] = file_id
            bar.update()
    batch = jobs.submit(uploaded, options, {FORMAT: arguments.format})
    print(batch["id"], flush=True)
    if not arguments.wait:
        return 0
    return _fetch(jobs, _waited(jobs, batch["id"]), arguments.out)


def status(jobs: BatchJobs, arguments: argparse.Namespace) -> int:
    """One line for each batch."""
    batches = [jobs.status(one) for one in arguments.ids] or jobs.list()
    for batch in batches:
        counts = batch["request_counts"]
        done = f"{counts['completed']} of {counts['total']} done, {counts['failed']} failed"
        print(f"{batch['id']}  {batch['status']:<11}  {done}, {_audio_s(batch):.0f} s of audio")
    return 0


def wait(jobs: BatchJobs, arguments: argparse.Namespace) -> int:
    """Shows the progress until the batches have ended."""
    ended = [_waited(jobs, one) for one in arguments.ids]
    return int(any(_has_failed(batch) for batch in ended))


def cancel(jobs: BatchJobs, arguments: argparse.Namespace) -> int:
    for one in arguments.ids:
        print(f"{one}  {jobs.cancel(one)['status']}")
    return 0


def fetch(jobs: BatchJobs, arguments: argparse.Namespace) -> int:
    """Prints the texts, or writes a file for each."""
    codes = [_fetch(jobs, jobs.status(one), arguments.out) for one in arguments.ids]
    return max(codes)


def _fetch(jobs: BatchJobs, batch: Mapping[str, Any], out: Path | None) -> int:
    for error in (batch["errors"] or {}).get("data", ()):
        print(f"error: line {error['line']}: {error['message']}", file=sys.stderr)
    suffix = SUFFIXES.get((batch["metadata"] or {}).get(FORMAT, ""), ".json")
    failed = _has_failed(batch)
    for result in jobs.results(batch):
        if result.error is not None:
            failed = True
            print(f"error: {result.name}: {result.error}", file=sys.stderr)
        elif out is None:
            print(_text(result))
        else:
            path = out / (result.name.strip("/").replace("/", "_") + suffix)
            path.write_text(_text(result) + "\n", encoding="utf-8")
    return int(failed)


def _waited(jobs: BatchJobs, batch_id: str) -> Mapping[str, Any]:
    """The batch once it has ended."""
    batch: Mapping[str, Any] = {}
    with _bar(0, batch_id) as bar:
        for batch in jobs.follow(batch_id):
            counts = batch["request_counts"]
            bar.total = counts["total"] or None
            bar.n = counts["completed"] + counts["failed"]
            bar.set_postfix_str(f"{batch['status']}, {_audio_s(batch):.0f} s of audio")
    return batch


def _bar(total: int, what: str) -> tqdm[Any]:
    return tqdm(total=total, desc=what, unit="file", file=sys.stderr, disable=not sys.stderr.isatty())


def _audio_s(batch: Mapping[str, Any]) -> float:
    return float((batch.get("audio_seconds") or {}).get("processed", 0.0))


def _has_failed(batch: Mapping[str, Any]) -> bool:
    return bool(batch["status"] != "completed" or batch["request_counts"]["failed"])


def _text(result: LineResult) -> str:
    body = result.body
    return body.rstrip("\n") if isinstance(body, str) else json.dumps(body, ensure_ascii=False)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("Transcribe files in a batch that goes on without this program.", EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for action, ids, what in (
        (submit, None, "upload files and have them transcribed"),
        (status, "*", "how far batches are; without an ID the newest ones"),
        (wait, "+", "wait for batches, with a progress bar"),
        (cancel, "+", "stop batches; what is done stays"),
        (fetch, "+", "get the texts of batches"),
    ):
        command = commands.add_parser(action.__name__, help=what, description=what)
        command.set_defaults(action=action)
        if ids is None:
            command.add_argument("files", nargs="+", metavar="FILE", help="files, or folders that hold some")
            command.add_argument("--wait", action="store_true", help="wait for the texts, and fetch them")
            add_request_arguments(command, "text")
        else:
            command.add_argument("ids", nargs=ids, metavar="ID", help="of a batch")
        if action in (submit, fetch):
            command.add_argument("--out", type=Path, metavar="FOLDER", help="a file for each in this folder")
        add_server_arguments(command, DEFAULT_URL, "an address that ends in /v1")
    arguments = parser.parse_args(argv)
    out: Path | None = getattr(arguments, "out", None)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadArgument(f"--out {out} cannot be a folder: {error.strerror}") from error
    return arguments


if __name__ == "__main__":
    sys.exit(run(main))
