"""Answers against references: error rates by set, words about no speech, languages that are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.wer.answers import Answer
from benchmarks.wer.intervals import Interval, error_rate, rate_difference
from benchmarks.wer.normalisers import normaliser_for
from whisper_client.references import Reference
from whisper_client.scoring import Score, score

BASELINE = "openai-whisper"
MIN_LANGUAGE_S = 3.0  # shorter recordings do not tell a language
REAL, DERIVED, UNSURE = "real", "derived", "unsure"
Answers = Mapping[str, Mapping[str, Answer]]  # by system, then by recording


@dataclass(frozen=True, slots=True)
class Rates:
    """One system on one set: rates in per cent; no interval where there is one recording."""

    wer: float
    interval: Interval | None
    points: float | None  # of `wer` above BASELINE's; None for itself, and where it did not hear the set
    difference: Interval | None  # the interval of `points`
    substitutions: int
    deletions: int
    insertions: int
    cer: float
    failures: int  # recordings without an answer, scored as an empty text


@dataclass(frozen=True, slots=True)
class Set:
    """Recordings of one language and kind, scored together; `kind` is "all" where several are."""

    group: str  # REAL, DERIVED (by codec, noise or joining), UNSURE (references that are not vouched for)
    language: str
    kind: str
    clips: int
    seconds: float
    words: int
    systems: dict[str, Rates]


@dataclass(frozen=True, slots=True)
class NoSpeech:
    """Words about recordings in which nobody speaks, by system: in all, and in how many recordings."""

    clips: int
    seconds: float
    words: dict[str, int]
    clips_with_words: dict[str, int]


@dataclass(frozen=True, slots=True)
class Languages:
    """How many recordings of a language were reported as that language, by system."""

    language: str
    clips: int
    right: dict[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    sets: list[Set]
    no_speech: NoSpeech
    languages: list[Languages]


def summarise(references: Sequence[Reference], answers: Answers) -> Summary:
    """All figures. A system is left out of a set of which it has not been asked every recording."""
    spoken = [one for one in references if one.text]
    silent = [one for one in references if not one.text]
    return Summary(_sets(spoken, answers), _no_speech(silent, answers), _languages(spoken, answers))


def group_of(reference: Reference) -> str:
    if reference.confidence != "high":
        return UNSURE
    return DERIVED if reference.is_derived else REAL


def _sets(references: Sequence[Reference], answers: Answers) -> list[Set]:
    """By group and language, the largest kind first, behind several kinds their sum."""
    found = []
    for group in (REAL, DERIVED, UNSURE):
        inside = [one for one in references if group_of(one) == group]
        for language, members in _largest_first(inside, lambda one: one.language):
            kinds = _largest_first(members, lambda one: one.kind)
            found += [_set(group, language, kind, some, answers) for kind, some in kinds]
            if len(kinds) > 1:
                found.append(_set(group, language, "all", members, answers))
    return found


def _largest_first(
    references: Sequence[Reference], key: Callable[[Reference], str]
) -> list[tuple[str, list[Reference]]]:
    """The recordings by `key`, those with the longest texts first."""
    parts: dict[str, list[Reference]] = {}
    for one in references:
        parts.setdefault(key(one), []).append(one)
    return sorted(parts.items(), key=lambda part: -sum(len(one.text) for one in part[1]))


def _set(group: str, language: str, kind: str, members: Sequence[Reference], answers: Answers) -> Set:
    heard = {system: found for system, found in answers.items() if all(one.name in found for one in members)}
    scores = {
        system: [score(one.text, found[one.name].text, normaliser_for(language)) for one in members]
        for system, found in heard.items()
    }
    words = [_words(one) for one in members]
    systems = {
        system: _rates(
            rows,
            None if system == BASELINE else scores.get(BASELINE),
            failures=sum(bool(heard[system][one.name].error) for one in members),
        )
        for system, rows in scores.items()
    }
    seconds = sum(one.seconds or 0.0 for one in members)
    return Set(group, language, kind, len(members), seconds, sum(words), systems)


def _words(reference: Reference) -> int:
    return len(normaliser_for(reference.language)(reference.text).split())


def _rates(rows: Sequence[Score], baseline: Sequence[Score] | None, failures: int) -> Rates:
    total = sum(rows, Score())
    words = [row.words.reference for row in rows]
    wrong = [row.words.wrong for row in rows]
    other = sum(baseline, Score()).words.rate if baseline else None
    several = len(rows) > 1 and sum(words) > 0
    return Rates(
        wer=100 * total.words.rate,
        interval=error_rate(wrong, words) if several else None,
        points=None if other is None else 100 * (total.words.rate - other),
        difference=rate_difference(wrong, [row.words.wrong for row in baseline], words)
        if baseline and several
        else None,
        substitutions=total.words.substitutions,
        deletions=total.words.deletions,
        insertions=total.words.insertions,
        cer=100 * total.characters.rate,
        failures=failures,
    )


def _no_speech(references: Sequence[Reference], answers: Answers) -> NoSpeech:
    counts = {
        system: [_written(found[one.name]) for one in references]
        for system, found in answers.items()
        if references and all(one.name in found for one in references)
    }
    return NoSpeech(
        clips=len(references),
        seconds=sum(one.seconds or 0.0 for one in references),
        words={system: sum(written) for system, written in counts.items()},
        clips_with_words={system: sum(map(bool, written)) for system, written in counts.items()},
    )


def _written(answer: Answer) -> int:
    return len(normaliser_for(answer.language)(answer.text).split())


def _languages(references: Sequence[Reference], answers: Answers) -> list[Languages]:
    """Of recordings of MIN_LANGUAGE_S or more whose language is known; a failure is not right."""
    known = [one for one in references if one.language and (one.seconds or 0.0) >= MIN_LANGUAGE_S]
    return [
        Languages(
            language,
            len(members),
            {
                system: sum(found[one.name].language == language for one in members)
                for system, found in answers.items()
                if all(one.name in found for one in members)
            },
        )
        for language, members in _largest_first(known, lambda one: one.language)
    ]
