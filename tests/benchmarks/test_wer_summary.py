"""Answers against references: groups, errors apart, failures, no speech, languages; and the page of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.wer.answers import Answer
from benchmarks.wer.normalisers import normaliser_for
from benchmarks.wer.page import section, title
from benchmarks.wer.picture import draw
from benchmarks.wer.summary import DERIVED, REAL, UNSURE, Summary, summarise
from whisper_client.references import Reference

PNG = b"\x89PNG"


def reference(name: str, text: str, language: str = "de", kind: str = "read", **more: object) -> Reference:
    return Reference(name, Path(name), text, language, kind, **({"seconds": 4.0} | more))  # type: ignore[arg-type]


REFERENCES = [
    reference("a", "eins zwei drei"),
    reference("b", "vier fünf"),
    reference("c", "sechs sieben", kind="noisy", seconds=1.0),
    reference("d", "acht", is_derived=True),
    reference("e", "नमस्ते दुनिया", "hi", confidence="medium"),
    reference("music", "", "", "noisy"),
]
TEXTS = {"a": "Eins, zwei drei.", "b": "vier", "c": "sechs sieben", "d": "acht", "music": ""}
TEXTS["e"] = "नमस्ते दुनिया"
WORSE = TEXTS | {"b": "vier vor zehn", "music": "Thank you."}


def answered(texts: dict[str, str], **languages: str) -> dict[str, Answer]:
    known = {one.name: one.language for one in REFERENCES}
    return {name: Answer(text, languages.get(name, known[name])) for name, text in texts.items()}


@pytest.fixture
def summary() -> Summary:
    return summarise(
        REFERENCES,
        {
            "ours-parallel": answered(WORSE, e="ur") | {"c": Answer("", error="the server answered 500")},
            "openai-whisper": answered(TEXTS),
            "whisper.cpp": answered({"a": "eins zwei drei"}),
        },
    )


def test_sets_are_kept_apart(summary: Summary) -> None:
    assert [(one.group, title(one), one.clips, one.words) for one in summary.sets] == [
        (REAL, "German, read", 2, 5),
        (REAL, "German, noisy", 1, 2),
        (REAL, "German, all", 3, 7),
        (DERIVED, "German, read", 1, 1),
        (UNSURE, "Hindi, read", 1, 2),
    ]


def test_errors_are_told_apart(summary: Summary) -> None:
    ours, upstream = (summary.sets[0].systems[name] for name in ("ours-parallel", "openai-whisper"))
    assert (ours.substitutions, ours.deletions, ours.insertions, ours.wer) == (1, 0, 1, 40.0)
    assert (upstream.substitutions, upstream.deletions, upstream.insertions, upstream.wer) == (0, 1, 0, 20.0)
    assert ours.difference and ours.difference.value == pytest.approx(20.0)
    assert ours.points == pytest.approx(20.0) and upstream.points is None
    assert upstream.difference is None and upstream.interval is not None


def test_a_recording_alone_is_no_sample(summary: Summary) -> None:
    ours, upstream = (summary.sets[1].systems[name] for name in ("ours-parallel", "openai-whisper"))
    assert (upstream.interval, ours.difference, ours.points) == (None, None, 100.0)


def test_a_failure_is_an_empty_text_and_is_counted(summary: Summary) -> None:
    noisy = summary.sets[1].systems["ours-parallel"]
    assert (noisy.deletions, noisy.wer, noisy.failures) == (2, 100.0, 1)


def test_a_system_that_heard_a_part_of_a_set_is_not_in_it(summary: Summary) -> None:
    assert all("whisper.cpp" not in one.systems for one in summary.sets)
    assert "whisper.cpp" not in summary.no_speech.words


def test_words_about_no_speech(summary: Summary) -> None:
    assert summary.no_speech.words == {"ours-parallel": 2, "openai-whisper": 0}
    assert summary.no_speech.clips_with_words == {"ours-parallel": 1, "openai-whisper": 0}


def test_languages_of_recordings_that_are_long_enough(summary: Summary) -> None:
    assert [(one.language, one.clips) for one in summary.languages] == [("de", 3), ("hi", 1)]
    assert summary.languages[1].right == {"ours-parallel": 0, "openai-whisper": 1}


def test_english_is_compared_as_published_figures_are() -> None:
    same = normaliser_for("en")
    assert same("Mr. Smith's colour") == same("mister smith's color")
    assert same("um, twenty-five") == same("25")
    assert normaliser_for("hi")("हिन्दी।") == "हिन्दी"


def page(summary: Summary, language: str = "detected") -> str:
    systems = {
        name: {"settings": {"options": "float32"}, "clips": 6, "failures": 0}
        for name in ("ours-parallel", "openai-whisper")
    }
    about = {
        "model": "base", "language": language, "systems": systems,
        "left_out": {"faster-whisper": "not installed"},
        "conditions": {
            "date": "2030-01-01", "command": "python …", "cpu": "C", "family": "1/1", "cores": 2,
            "memory_gib": 4, "flags": ["avx2"], "missing": [], "python": "3.11", "versions": {},
            "load_average_before": 0.1,
        },
    }  # fmt: skip
    return section(summary, about, "accuracy.png")


def test_the_page_answers_the_question(summary: Summary) -> None:
    text = page(summary)
    assert "| German, read | 2 | 5 | 40.0 (0.0–100.0) | 20.0 (0.0–50.0) |" in text
    assert "| German, read | 2 | +20.0 (0.0 to +50.0) |" in text
    assert "| German, noisy | 1 | +100.0, 1 failed |" in text
    assert "100.0, 1 failed" in text
    assert "| German, read | 2 | 5 | 1 / 0 / 1 | 0 / 1 / 0 |" in text
    assert "| ours-parallel | 2 | 1 of 1 |" in text
    assert "| Hindi | 1 | 0 | 1 |" in text
    assert "faster-whisper is left out: not installed." in text


def test_the_verdict_names_where_it_is_worse() -> None:
    many = [reference(f"{i}", "eins zwei drei vier") for i in range(30)]
    right = {one.name: Answer(one.text, "de") for one in many}
    wrong = {one.name: Answer("eins zwei drei", "de") for one in many}
    text = page(summarise(many, {"ours-parallel": wrong, "openai-whisper": right}))
    assert (
        "`ours-parallel` is worse than openai-whisper by more than its interval: German, read (+25.0 points)"
        in text
    )
    assert "**+25.0 (+25.0 to +25.0)**" in text
    text = page(summarise(many, {"ours-parallel": right, "openai-whisper": wrong}))
    assert "by more than its interval: nowhere (of 1 sets)" in text


def test_a_language_that_was_told_is_not_counted_as_found(summary: Summary) -> None:
    assert "It was told, so nothing was detected." in page(summary, "told")


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    many = [reference(f"{i}", "eins zwei drei vier") for i in range(20)]
    answers = {
        "ours-parallel": {one.name: Answer(one.text if int(one.name) % 3 else "", "de") for one in many}
    }
    summary = summarise(
        many, answers | {"openai-whisper": {one.name: Answer(one.text, "de") for one in many}}
    )
    draw(summary, ["ours-parallel", "openai-whisper"], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
