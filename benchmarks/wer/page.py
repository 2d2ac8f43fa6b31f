"""A summary as Markdown: one table a question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from asr.languages import LANGUAGES
from benchmarks import report
from benchmarks.machine import conditions_text
from benchmarks.wer.intervals import Interval
from benchmarks.wer.summary import BASELINE, DERIVED, MIN_LANGUAGE_S, REAL, UNSURE, Rates, Set, Summary

NONE = "–"
GROUPS = {
    REAL: "Recordings",
    DERIVED: "Made from recordings: by a codec, by added noise, or joined to long ones",
    UNSURE: "Recordings whose reference texts nobody vouches for",
}
MINUS = "\N{MINUS SIGN}"


def section(summary: Summary, about: Mapping[str, Any], picture: str) -> str:
    """The whole block for docs/accuracy.md; `about` is what accuracy.py keeps beside the figures."""
    systems = list(about["systems"])
    parts = [
        f"## {about['model']}, language {about['language']}",
        f"![Word error rates with 95 % intervals, and the difference against {BASELINE}]({picture})",
        verdict(summary, systems),
        "### Word error rate",
        "Per cent, with the 95 % interval. Chinese and Japanese by characters.",
        *_by_group(summary, systems, ("words",), lambda one: [one.words], _rate),
        f"### Difference against {BASELINE}",
        "Percentage points of word error rate with the 95 % interval of the paired difference; "
        "above 0 is worse, **bold** is worse by more than the interval.",
        *_by_group(summary, [one for one in systems if one != BASELINE], (), lambda one: [], _difference),
        "### Substitutions, deletions, insertions",
        "Words, counted over the set.",
        *_by_group(summary, systems, ("words",), lambda one: [one.words], _kinds_of_errors),
        "### Character error rate",
        "Per cent; a letter with its marks is one character.",
        *_by_group(summary, systems, (), lambda one: [], lambda rates: f"{rates.cer:.1f}"),
        "### Words written about no speech",
        _no_speech(summary, systems),
        "### Language",
        _languages(summary, systems)
        if about["language"] == "detected"
        else "It was told, so nothing was detected.",
        "### Conditions",
        *_conditions(about),
    ]
    return "\n\n".join(parts)


def verdict(summary: Summary, systems: Sequence[str]) -> str:
    """A sentence a system of ours: where it is worse than BASELINE by more than its interval."""
    lines = []
    for system in (one for one in systems if one.startswith("ours")):
        compared = [
            (one, rates.difference)
            for one in summary.sets
            if (rates := one.systems.get(system)) and rates.difference and one.kind != "all"
        ]
        worse = [
            f"{title(one)} ({_signed(by.value)} points)" for one, by in compared if by and by.is_above_zero
        ]
        where = ", ".join(worse) if worse else "nowhere"
        lines.append(
            f"`{system}` is worse than {BASELINE} by more than its interval: {where} "
            f"(of {len(compared)} sets)."
        )
    return "\n".join(lines)


def title(one: Set) -> str:
    """The set in words: "English, telephone"."""
    language = LANGUAGES.get(one.language, one.language).capitalize() or "unknown language"
    return f"{language}, {one.kind}" if one.kind else language


def _by_group(
    summary: Summary,
    systems: Sequence[str],
    more: Sequence[str],
    extra: Callable[[Set], list[object]],
    cell: Callable[[Rates], str],
) -> Iterable[str]:
    """A heading and a table for each group: a row a set, a column a system."""
    for group, heading in GROUPS.items():
        sets = [one for one in summary.sets if one.group == group]
        if not sets:
            continue
        rows = [
            [title(one), one.clips, *extra(one), *(_cell(one.systems.get(name), cell) for name in systems)]
            for one in sets
        ]
        yield f"**{heading}**"
        yield report.table(["set", "clips", *more, *systems], rows)


def _cell(rates: Rates | None, cell: Callable[[Rates], str]) -> str:
    if rates is None:
        return NONE
    return cell(rates) + (f", {rates.failures} failed" if rates.failures else "")


def _rate(rates: Rates) -> str:
    return f"{rates.wer:.1f}" + (_span(rates.interval, "–", _plain) if rates.interval else "")


def _difference(rates: Rates) -> str:
    if rates.points is None:
        return NONE
    if rates.difference is None:
        return _signed(rates.points)
    text = _signed(rates.points) + _span(rates.difference, " to ", _signed)
    return f"**{text}**" if rates.difference.is_above_zero else text


def _kinds_of_errors(rates: Rates) -> str:
    return f"{rates.substitutions} / {rates.deletions} / {rates.insertions}"


def _span(interval: Interval, between: str, number: Callable[[float], str]) -> str:
    return f" ({number(interval.low)}{between}{number(interval.high)})"


def _plain(value: float) -> str:
    return f"{value:.1f}"


def _signed(value: float) -> str:
    rounded = f"{abs(value):.1f}"
    if rounded == "0.0":
        return rounded
    return ("+" if value > 0 else MINUS) + rounded


def _no_speech(summary: Summary, systems: Sequence[str]) -> str:
    found = summary.no_speech
    if not found.clips:
        return "No recording without speech was given."
    rows = [
        [name, found.words[name], f"{found.clips_with_words[name]} of {found.clips}"]
        for name in systems
        if name in found.words
    ]
    return (
        f"{found.clips} recordings, {found.seconds / 60:.1f} minutes of music, animals and machines.\n\n"
        + report.table(["system", "words", "recordings with words"], rows)
    )


def _languages(summary: Summary, systems: Sequence[str]) -> str:
    def cell(right: Mapping[str, int], name: str) -> str:
        return str(right[name]) if name in right else NONE

    rows: list[list[object]] = [
        [
            LANGUAGES.get(one.language, one.language).capitalize(),
            one.clips,
            *(cell(one.right, n) for n in systems),
        ]
        for one in summary.languages
    ]
    sums = {
        name: sum(one.right[name] for one in summary.languages)
        for name in systems
        if all(name in one.right for one in summary.languages)
    }
    rows.append(["all", sum(one.clips for one in summary.languages), *(cell(sums, n) for n in systems)])
    return (
        f"Recordings with speech, {MIN_LANGUAGE_S:g} s and longer, whose language is reported right.\n\n"
        + report.table(["language", "clips", *systems], rows)
    )


def _conditions(about: Mapping[str, Any]) -> Iterable[str]:
    rows = [
        [name, one["settings"].get("options", ""), one["clips"], one["failures"]]
        for name, one in about["systems"].items()
    ]
    yield report.table(["system", "as it was run", "recordings", "failed"], rows)
    for name, reason in about["left_out"].items():
        yield f"{name} is left out: {reason}."
    yield conditions_text(about["conditions"])
