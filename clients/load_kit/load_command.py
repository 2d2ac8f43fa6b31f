"""Shared by bulk_request and request_train: clips, warm-up, levels, report, files, exit code."""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load_kit.chart import check_matplotlib, draw_results
from load_kit.compare import WORSE, compare, compare_text, read_result
from load_kit.load import Clip, Job, LoadRunner, Outcome, Send
from load_kit.load_progress import LoadProgress
from load_kit.load_report import (
    SCHEMA_VERSION,
    LoadReport,
    level_document,
    levels_table,
    make_report,
    report_text,
)
from load_kit.mix import Mix, find_clips
from load_kit.models_report import models_text
from load_kit.surroundings import shown_command, summary, surroundings
from whisper_client.client import Reply, WhisperClient
from whisper_client.command_line import (
    INTERRUPTED,
    check_writable,
    make_client,
    request_options,
)
from whisper_client.errors import BadArgument, ServerRefused
from whisper_client.form import Form

SHOWN_FAILURES = 5
KEPT_BYTES = 256 * 2**20  # of encoded forms, so that they are not read and encoded again for every request


@dataclass(frozen=True, slots=True)
class Level:
    """One stretch of load before it starts."""

    level: float  # requests under way, or requests a second
    threads: int
    jobs: Iterable[Job]
    count: int | None  # None: not known before `start_for_s` are over
    start_for_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before it starts."""

    kind: str  # "closed loop" | "open loop"
    axis: str  # the quantity that differs between levels, in one word
    levels: Sequence[Level]
    settings: dict[str, Any]  # of this program; those of both are added


def run_compare(arguments: argparse.Namespace) -> int:
    """Prints the comparison, draws it where asked for: exit code 1 if B is worse anywhere."""
    before, after = (read_result(path) for path in arguments.compare)
    rows = compare(before, after, arguments.tolerance / 100)
    print(compare_text(before, after, rows))
    if arguments.png:
        draw_results([before, after], [path.stem for path in arguments.compare], arguments.png)
    return 1 if any(row.verdict == WORSE for row in rows) else 0


def check_results(arguments: argparse.Namespace) -> None:
    """Raises BadArgument where the results could not be written."""
    check_writable(arguments.json)
    check_writable(arguments.png)
    if arguments.png:
        check_matplotlib()
    if arguments.config and not arguments.config.is_dir():
        raise BadArgument(f"--config {arguments.config} is no folder")


def run_program(
    arguments: argparse.Namespace,
    make_plan: Callable[[Mix, argparse.Namespace], Plan],
    argv: Sequence[str] | None,
) -> int:
    """Compares two results, or sends what the plan says: the exit code."""
    if arguments.compare:
        return run_compare(arguments)
    check_results(arguments)
    with find_clips(arguments.paths, arguments.mix) as mix:
        return run_plan(make_plan(mix, arguments), mix, arguments, argv)


def run_plan(plan: Plan, mix: Mix, arguments: argparse.Namespace, argv: Sequence[str] | None) -> int:
    """Warms up, runs level by level, reports and writes the files: exit code 0, or 1 after a failure."""
    options = {name: value for name, value in request_options(arguments).items() if value is not None}
    with make_client(arguments) as client:
        send = FormSender(client, options)
        _warm_up(send, mix.clips, arguments.warm_up)
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        command = shown_command(Path(sys.argv[0]).stem, sys.argv[1:] if argv is None else argv)
        about = surroundings(client, command, arguments.config, arguments.model)
        results = _run_levels(plan, send)
    settings = plan.settings | {
        "duration_s": arguments.duration,
        "clips": len(mix.clips),
        "mix": arguments.mix,
        "warm_up": arguments.warm_up,
    }
    about |= {"kind": plan.kind, "started_at": started_at, "settings": settings, "options": options}
    documents = [level_document(level, report, outcomes) for level, report, outcomes in results]
    document = {"schema_version": SCHEMA_VERSION, **about, "levels": documents}
    print(summary(document))
    print(_figures_text(plan, [(level, report) for level, report, _ in results]))
    every = [outcome for _, _, outcomes in results for outcome in outcomes]
    if models := models_text(every):
        print(models)
    _show_failures(every)
    _write(document, arguments)
    return max((exit_code(report) for _, report, _ in results), default=1)


def exit_code(report: LoadReport) -> int:
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.succeeded == report.requests > 0 else 1


class FormSender:
    """Sends clips with the same options; a clip's form is encoded once, as long as all fit in KEPT_BYTES."""

    def __init__(self, client: WhisperClient, options: dict[str, Any]) -> None:
        self._client, self._options = client, options
        self._forms: dict[Path, Form] = {}
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def __call__(self, clip: Clip) -> Reply:
        return self._client.send(self.form(clip))

    def form(self, clip: Clip) -> Form:
        form = self._forms.get(clip.path)
        if form is None:
            form = self._client.form(clip.path, **self._options)
            with self._lock:
                if clip.path not in self._forms and self._kept_bytes + len(form.body) <= KEPT_BYTES:
                    self._forms[clip.path] = form
                    self._kept_bytes += len(form.body)
        return form


def _warm_up(send: Send, clips: Sequence[Clip], count: int) -> None:
    """Sends the first clips one by one; raises ClientError where the server does not transcribe them."""
    for clip in [clips[index % len(clips)] for index in range(count)]:
        try:
            send(clip).raise_for_status()
        except ServerRefused as error:
            message = f"warm-up with {clip.path}: {error}"
            raise ServerRefused(message, status=error.status, tries=error.tries) from error


def _run_levels(plan: Plan, send: Send) -> list[tuple[float, LoadReport, tuple[Outcome, ...]]]:
    """The levels one after the other, each after the last answer of the one before; Ctrl-C ends them all."""
    results = []
    with LoadProgress() as progress:
        for level in plan.levels:
            name = f"{plan.axis} {level.level:g}"
            progress.start(name, level.count, level.start_for_s)
            runner = LoadRunner(send, level.threads)
            run = runner.run(level.jobs, progress.show, start_for_s=level.start_for_s)
            report = make_report(run)
            results.append((level.level, report, run.outcomes))
            if len(plan.levels) > 1:
                progress.note(
                    f"{name}: {report.succeeded} of {report.requests} good in {report.wall_s:.1f} s"
                )
            if run.interrupted:
                break
    return results


def _figures_text(plan: Plan, reports: Sequence[tuple[float, LoadReport]]) -> str:
    if len(plan.levels) == 1:
        return report_text(reports[0][1])
    lines = [levels_table(plan.axis, reports)]
    for level, report in reports:
        if report.failures or report.retries or report.late_requests:
            kept = ("failures", "retries", "held up")
            shown = [line for line in report_text(report).splitlines() if line.startswith(kept)]
            lines += [f"at {level:g}: {line}" for line in shown if not line.endswith(" none")]
    if any(report.interrupted for _, report in reports):
        lines.append("stopped by Ctrl-C; requests still under way are not counted")
    return "\n".join(lines)


def _show_failures(outcomes: Sequence[Outcome]) -> None:
    """The most frequent failures, each once with how often."""
    failed = Counter(
        (outcome.path, outcome.message) for outcome in outcomes if outcome.failure is not None
    ).most_common()
    for (path, message), count in failed[:SHOWN_FAILURES]:
        times = f" ({count} times)" if count > 1 else ""
        print(f"failed: {path}: {message}{times}", file=sys.stderr)
    if more := sum(count for _, count in failed[SHOWN_FAILURES:]):
        print(f"failed: {more} more (all are in the --json file)", file=sys.stderr)


def _write(document: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"wrote {arguments.json}", file=sys.stderr)
    if arguments.png:
        draw_results([document], [""], arguments.png)
        print(f"wrote {arguments.png}", file=sys.stderr)
