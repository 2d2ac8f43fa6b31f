"""A soak run → verdict, JSON document, Markdown and a picture of memory over time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_kit.chart import draw_memory
from load_kit.load import LoadRun, Outcome
from load_kit.load_report import level_document, make_report, report_text
from load_kit.soak.chaos import Event
from load_kit.soak.growth import FLAT_GROWTH, MemoryVerdict, all_flat
from load_kit.surroundings import summary
from whisper_client.errors import BadArgument

SCHEMA_VERSION = 1
SHOWN = 10  # failed requests


@dataclass(frozen=True, slots=True)
class SoakResult:
    """Everything that a soak run found."""

    about: Mapping[str, Any]  # the surroundings, started_at and settings
    run: LoadRun
    events: Sequence[Event]
    memory: Sequence[MemoryVerdict]

    @property
    def correct(self) -> bool:
        """Whether every well-formed request was answered, and with the right text."""
        return bool(self.run.outcomes) and all(outcome.failure is None for outcome in self.run.outcomes)

    @property
    def flat(self) -> bool | None:
        return all_flat(self.memory)

    @property
    def passed(self) -> bool:
        return self.correct and self.flat is not False


def write_report(result: SoakResult, folder: Path) -> Path:
    """Writes soak.json, soak.md and, with memory and matplotlib, soak.png; returns the Markdown's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(soak_document(result), indent=1, ensure_ascii=False)
    (folder / "soak.json").write_text(text + "\n", encoding="utf-8")
    picture = _draw(result, folder / "soak.png") if result.memory else ""
    (folder / "soak.md").write_text(soak_markdown(result, picture), encoding="utf-8")
    return folder / "soak.md"


def _draw(result: SoakResult, path: Path) -> str:
    """Draws memory over time; returns the line for the Markdown, also if matplotlib is missing."""
    curves = [
        (verdict.series.label, verdict.series.seconds, verdict.series.rss_mib) for verdict in result.memory
    ]
    try:
        draw_memory(curves, [(event.at_s, event.act) for event in result.events], path)
    except BadArgument as error:
        return f"Not drawn: {error}"
    return f"![memory over time]({path.name})"


def soak_document(result: SoakResult) -> dict[str, Any]:
    """The JSON document."""
    report = make_report(result.run)
    traffic = level_document(result.about["settings"]["concurrency"], report, result.run.outcomes)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "soak",
        **result.about,
        "passed": result.passed,
        "correct": result.correct,
        "memory_flat": result.flat,
        "figures": traffic["figures"],
        "events": [{"at_s": event.at_s, "act": event.act, "result": event.result,
                    "recovered_s": recovered_s(event, result.run.outcomes)} for event in result.events],
        "memory": [{"pid": verdict.series.pid, "role": verdict.series.role, "growth": verdict.growth,
                    "flat": verdict.flat, "seconds": verdict.series.seconds,
                    "rss_mib": verdict.series.rss_mib} for verdict in result.memory],
        "outcomes": traffic["outcomes"],
    }  # fmt: skip


def soak_markdown(result: SoakResult, picture: str = "") -> str:
    """The report for a person; `picture` is what stands under the memory table."""
    minutes = result.run.wall_s / 60
    stopped = ", stopped by Ctrl-C" if result.run.interrupted else ""
    parts = [
        f"# Soak: {'passed' if result.passed else 'failed'} ({minutes:.1f} minutes{stopped})",
        _table(("bar", "met", "found"), bars(result)),
        _code(summary(result.about)),
        "## Traffic",
        _code(report_text(make_report(result.run))),
        *_failed(result.run.outcomes),
        "## Chaos",
        _chaos(result),
        "## Memory",
        *_memory(result, picture),
    ]
    return "\n\n".join(parts) + "\n"


def bars(result: SoakResult) -> list[tuple[str, str, str]]:
    """Each requirement, whether the run met it, and the figure."""
    good = sum(outcome.failure is None for outcome in result.run.outcomes)
    judged = [verdict.growth for verdict in result.memory if verdict.flat is not None]
    grown = [growth for growth in judged if growth is not None]
    memory = f"largest growth {max(grown):+.1%}, {len(judged)} judged" if grown else "no process judged"
    words = {True: "yes", False: "**no**", None: "not measured"}
    return [
        (
            "every well-formed request answered correctly",
            words[result.correct],
            f"{good} of {len(result.run.outcomes)}",
        ),
        (f"memory flat within {FLAT_GROWTH:.0%}", words[result.flat], memory),
    ]


def recovered_s(event: Event, outcomes: Sequence[Outcome]) -> float | None:
    """Seconds from an act to the first good answer to a request sent after it."""
    later = [
        outcome.done_s for outcome in outcomes if outcome.failure is None and outcome.sent_s >= event.at_s
    ]
    return min(later) - event.at_s if later else None


def _failed(outcomes: Sequence[Outcome]) -> list[str]:
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    if not failed:
        return []
    rows = [
        (f"{outcome.done_s:.0f}", Path(outcome.path).name, str(outcome.failure), outcome.message)
        for outcome in failed[:SHOWN]
    ]
    more = f" (the first {SHOWN} of {len(failed)})" if len(failed) > SHOWN else ""
    return [f"Failed{more}:", _table(("s", "clip", "failure", "message"), rows)]


def _chaos(result: SoakResult) -> str:
    rows = []
    for act in dict.fromkeys(event.act for event in result.events):
        events = [event for event in result.events if event.act == act]
        times = [recovered_s(event, result.run.outcomes) for event in events]
        known = [seconds for seconds in times if seconds is not None]
        found = Counter(_without_pid(event.result) for event in events).most_common()
        told = "; ".join(f"{count} × {text}" for text, count in found)
        rows.append((act, str(len(events)), told, f"{max(known):.1f}" if known else "-"))
    return (
        _table(("act", "times", "came of it", "next good answer after at most, s"), rows) if rows else "None."
    )


def _memory(result: SoakResult, picture: str) -> list[str]:
    if not result.memory:
        return ["Not measured: the server is not on this machine, or no `--watch` names its port."]
    rows = []
    for verdict in sorted(result.memory, key=lambda verdict: verdict.series.seconds[0]):
        series = verdict.series
        growth = "-" if verdict.growth is None else f"{verdict.growth:+.1%}"
        flat = {True: "flat", False: "**grows**", None: verdict.why}[verdict.flat]
        life = f"{series.seconds[0]:.0f} to {series.seconds[-1]:.0f}"
        rss = f"{series.rss_mib[0]:.0f}, {max(series.rss_mib):.0f}, {series.rss_mib[-1]:.0f}"
        rows.append((series.role, str(series.pid), life, rss, growth, flat))
    heads = ("process", "pid", "seen, s", "MiB first, most, last", "growth after warm-up", "verdict")
    return [_table(heads, rows), picture]


def _without_pid(text: str) -> str:
    return text.rstrip("0123456789 ") if text.startswith("killed worker") else text


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
