"""What bulk_request and request_train share: arguments, clips, warm-up, progress bar, report, exit code."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from whisper_client.audio_files import audio_seconds, find_audio
from whisper_client.client import WhisperClient
from whisper_client.command_line import (
    INTERRUPTED,
    add_request_arguments,
    add_server_arguments,
    make_client,
    request_options,
    whole_number,
)
from whisper_client.errors import BadArgument, ServerRefused
from whisper_client.load import Clip, Job, LoadRun, LoadRunner, Outcome, Send
from whisper_client.report import LoadReport, make_report, report_document, report_text

SHOWN_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before it starts."""

    kind: str  # "closed loop" | "open loop"
    jobs: Sequence[Job]
    threads: int
    settings: dict[str, Any]  # what tells this run from another; goes into the JSON


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="FILE|DIR", help="audio files, folders of them, or both")
    parser.add_argument(
        "--warm-up",
        type=whole_number,
        default=1,
        metavar="N",
        help="requests sent and checked first, not counted (default: %(default)d)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and all outcomes there")
    add_request_arguments(parser, default_format="verbose_json")
    add_server_arguments(parser)


def find_clips(paths: Sequence[str]) -> list[Clip]:
    """The clips to send; raises BadArgument."""
    return [Clip(path, audio_seconds(path)) for path in find_audio(paths)]


def run_plan(plan: Plan, arguments: argparse.Namespace) -> int:
    """Warms up, runs, prints the report and writes the JSON: exit code 0, or 1 after any failure."""
    options = request_options(arguments)
    _check_writable(arguments.json)
    with make_client(arguments) as client:

        def send(clip: Clip) -> Any:
            return client.transcribe(clip.path, **options)

        _warm_up(send, plan, arguments.warm_up)
        started_at = datetime.now(UTC)
        run = _run_with_bar(LoadRunner(send, plan.threads), plan)
        report = make_report(run)
        about = _about(plan, client, options, started_at)
    print(report_text(report))
    _show_failures(run.outcomes)
    if arguments.json:
        document = report_document(report, about, run.outcomes)
        arguments.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"wrote {arguments.json}", file=sys.stderr)
    return exit_code(report)


def exit_code(report: LoadReport) -> int:
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.succeeded == report.requests > 0 else 1


def _warm_up(send: Send, plan: Plan, count: int) -> None:
    """Sends the first clips one by one; raises ClientError where the server does not transcribe them."""
    for job in [plan.jobs[index % len(plan.jobs)] for index in range(count)]:
        try:
            send(job.clip).raise_for_status()
        except ServerRefused as error:
            message = f"warm-up with {job.clip.path}: {error}"
            raise ServerRefused(message, status=error.status, tries=error.tries) from error


def _run_with_bar(runner: LoadRunner, plan: Plan) -> LoadRun:
    console = Console(stderr=True)
    columns = (
        TextColumn(plan.kind),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[failed]} failed, {task.fields[retried]} retried"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(plan.kind, total=len(plan.jobs), failed=0, retried=0)
        failed = retried = 0

        def show(outcome: Outcome) -> None:
            nonlocal failed, retried
            failed += outcome.failure is not None
            retried += bool(outcome.causes)
            bar.update(task, advance=1, failed=failed, retried=retried)

        return runner.run(plan.jobs, show)


def _show_failures(outcomes: Sequence[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    for outcome in failed[:SHOWN_FAILURES]:
        print(f"failed: {outcome.path}: {outcome.message}", file=sys.stderr)
    if len(failed) > SHOWN_FAILURES:
        print(f"failed: {len(failed) - SHOWN_FAILURES} more (all are in the --json file)", file=sys.stderr)


def _about(
    plan: Plan, client: WhisperClient, options: dict[str, Any], started_at: datetime
) -> dict[str, Any]:
    """What was run and from where; nothing secret: the address cannot hold a login."""
    return {
        "kind": plan.kind,
        "started_at": started_at.isoformat(timespec="seconds"),
        "url": client.url,
        "settings": plan.settings,
        "options": {name: value for name, value in options.items() if value is not None},
        "client_machine": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
        },
    }


def _check_writable(path: Path | None) -> None:
    """Raises BadArgument now rather than after an hour of load."""
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise BadArgument(f"cannot write {path}: give a file in a folder that exists")
