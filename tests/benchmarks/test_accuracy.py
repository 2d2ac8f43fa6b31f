"""benchmarks/accuracy.py as it is called: what is asked, kept, asked again and written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accuracy, report
from benchmarks.wer.answers import Answer
from benchmarks.wer.systems import Unavailable, sha256
from whisper_client.command_line import run
from whisper_client.references import Reference


@dataclass
class Parrot:
    """A system that knows the references, and can stop, fail or be another."""

    version: int = 1
    stops_after: int = 1000
    fails: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        return {"version": self.version}

    def answers(self, references: Sequence[Reference]) -> Iterator[tuple[Reference, Answer]]:
        for one in references[: self.stops_after]:
            self.asked.append(one.name)
            if one.name in self.fails:
                yield one, Answer("", error="broken file")
            else:
                yield one, Answer(one.text, one.language, 0.5)
        if self.stops_after < len(references):
            raise KeyboardInterrupt


class Absent(Parrot):
    def settings(self) -> dict[str, Any]:
        raise Unavailable("not installed")


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command line for three recordings; results and page go to the temporary folder."""
    lines = [
        {"path": "a.wav", "text": "Guten Tag", "language": "de", "kind": "read", "seconds": 4},
        {"path": "b.wav", "text": "Auf Wiedersehen", "language": "de", "kind": "read", "seconds": 4},
        {"path": "c.wav", "text": "", "language": "", "kind": "noisy", "seconds": 4},
    ]
    for line in lines:
        (tmp_path / str(line["path"])).touch()
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(accuracy, "DOCUMENT", tmp_path / "accuracy.md")
    (tmp_path / "accuracy.md").write_text("# Accuracy\n")
    return [str(tmp_path / "manifest.jsonl"), "--work", str(tmp_path / "work")]


def use(monkeypatch: pytest.MonkeyPatch, **systems: Parrot) -> None:
    makers = {name.replace("_", "-"): lambda setup, work, one=one: one for name, one in systems.items()}
    monkeypatch.setattr(accuracy, "MAKERS", makers)


def test_the_page_and_the_figures_are_written(given, tmp_path, monkeypatch) -> None:
    use(monkeypatch, openai_whisper=Parrot(), ours_parallel=Absent())
    assert run(accuracy.main, given) == 0
    text = (tmp_path / "accuracy.md").read_text()
    assert text.startswith("# Accuracy\n") and "| German, read | 2 | 4 | 0.0 (0.0–0.0) |" in text
    assert "ours-parallel is left out: not installed." in text
    assert str(tmp_path) not in text, "a path of this machine is published"
    figures = json.loads((tmp_path / "results" / "accuracy.json").read_text())
    assert figures["sets"][0]["systems"]["openai-whisper"]["wer"] == 0
    assert figures["systems"]["openai-whisper"] == {
        "settings": {"version": 1}, "clips": 3, "seconds": 1.5, "failures": 0,
    }  # fmt: skip
    assert (tmp_path / "accuracy.png").is_file()


def test_a_run_that_was_stopped_goes_on(given, monkeypatch) -> None:
    first, second = Parrot(stops_after=2), Parrot()
    use(monkeypatch, openai_whisper=first)
    assert run(accuracy.main, given) == 130
    use(monkeypatch, openai_whisper=second)
    assert run(accuracy.main, given) == 0
    assert (first.asked, second.asked) == (["a.wav", "b.wav"], ["c.wav"])


def test_a_half_written_line_is_asked_again(given, tmp_path, monkeypatch) -> None:
    use(monkeypatch, openai_whisper=Parrot())
    run(accuracy.main, given)
    kept = tmp_path / "work" / "detected" / "openai-whisper.jsonl"
    kept.write_bytes(kept.read_bytes()[:-10])
    again = Parrot()
    use(monkeypatch, openai_whisper=again)
    assert run(accuracy.main, given) == 0 and again.asked == ["c.wav"]


def test_a_changed_system_starts_over_alone(given, monkeypatch, capsys) -> None:
    use(monkeypatch, openai_whisper=Parrot(), ours_parallel=Parrot())
    run(accuracy.main, given)
    same, changed = Parrot(), Parrot(version=2)
    use(monkeypatch, openai_whisper=same, ours_parallel=changed)
    assert run(accuracy.main, given) == 0
    assert (same.asked, changed.asked) == ([], ["a.wav", "b.wav", "c.wav"])
    assert "ours-parallel is not what it was: its 3 answers are asked again" in capsys.readouterr().err


def test_answers_of_a_changed_system_can_be_kept(given, monkeypatch) -> None:
    use(monkeypatch, openai_whisper=Parrot())
    run(accuracy.main, given)
    changed = Parrot(version=2)
    use(monkeypatch, openai_whisper=changed)
    assert run(accuracy.main, [*given, "--keep"]) == 0 and changed.asked == []


def test_failures_are_told_and_asked_again(given, monkeypatch, capsys) -> None:
    use(monkeypatch, openai_whisper=Parrot(fails=("b.wav",)))
    assert run(accuracy.main, given) == 1
    assert "openai-whisper: b.wav: broken file" in capsys.readouterr().err
    again = Parrot()
    use(monkeypatch, openai_whisper=again)
    assert run(accuracy.main, given) == 0 and again.asked == ["b.wav"]


def test_the_page_alone_asks_nobody(given, tmp_path, monkeypatch) -> None:
    parrot = Parrot()
    use(monkeypatch, openai_whisper=parrot)
    assert run(accuracy.main, [*given, "--write-only"]) == 2  # nothing is kept
    run(accuracy.main, given)
    parrot.asked.clear()
    use(monkeypatch, openai_whisper=parrot, ours_parallel=Parrot())
    assert run(accuracy.main, [*given, "--write-only"]) == 1  # ours have no answer
    assert parrot.asked == []
    assert "ours-parallel is left out: it was not asked." in (tmp_path / "accuracy.md").read_text()


def test_a_language_that_is_told_makes_answers_of_its_own(given, tmp_path, monkeypatch) -> None:
    parrot = Parrot()
    use(monkeypatch, openai_whisper=parrot)
    run(accuracy.main, given)
    run(accuracy.main, [*given, "--language", "told"])
    assert len(parrot.asked) == 6
    assert (tmp_path / "results" / "accuracy-told.json").is_file()


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--limit", "1"], ["a.wav", "c.wav"]),
        (["--kinds", "noisy"], ["c.wav"]),
        (["--languages", "de", "--confidence", "high"], ["a.wav", "b.wav"]),
    ],
)
def test_a_part_can_be_chosen(given, tmp_path, monkeypatch, options, asked) -> None:
    parrot = Parrot()
    use(monkeypatch, openai_whisper=parrot)
    assert run(accuracy.main, [*given, *options]) == 0
    assert parrot.asked == asked
    if "--limit" in options:
        assert not (tmp_path / "results").exists(), "a part of the recordings was published"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--kinds", "singing"], "holds no recording of these languages, kinds and confidence"),
        (["--languages", "de"], "1 recordings are not there, e.g. "),
    ],
)
def test_what_cannot_be_done_is_one_line(given, tmp_path, monkeypatch, capsys, options, complaint) -> None:
    (tmp_path / "a.wav").unlink()
    use(monkeypatch, openai_whisper=Parrot())
    assert run(accuracy.main, [*given, *options]) == 2
    assert complaint in capsys.readouterr().err


def test_changed_code_is_another_system(tmp_path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text(f"# {name}")
        (tmp_path / name / "notes.txt").write_text(name)
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "code.py").write_text("# one")
    assert sha256(tmp_path / "one") == sha256(tmp_path / "three") != sha256(tmp_path / "two")
