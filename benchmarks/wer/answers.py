"""What systems wrote, kept on disk clip by clip, so that a run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What one system wrote about one recording."""

    text: str
    language: str = ""  # ISO code that it reports; empty: none
    seconds: float = 0.0  # that it took
    error: str = ""  # why there is no text; asked again in the next run


class AnswerFile:
    """`PATH.jsonl`: the system's settings in the first line, then a line an answer.

    Answers of other settings (weights, versions, options, our code) are no answers of this system: the file
    starts over, unless `keep` says that they are.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, keep: bool = False) -> None:
        self._path = path
        self.settings = dict(settings)
        self.dropped = 0  # answers of other settings
        self._answers: dict[str, Answer] = {}
        found, old = read_answers(path)
        if found == self.settings or (keep and old):
            self._answers = old
        else:
            self.dropped = len(old)
        self._write()

    @property
    def answers(self) -> dict[str, Answer]:
        """By the recording's name."""
        return dict(self._answers)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those without an answer, and those whose answer is an error."""
        return [name for name in names if name not in self._answers or self._answers[name].error]

    def add(self, name: str, answer: Answer) -> None:
        self._answers[name] = answer
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(name, answer))

    def _write(self) -> None:
        """The whole file, by way of another one: a run that is killed leaves the old or the new."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        lines = [_line(name, answer) for name, answer in self._answers.items()]
        fresh.write_text("".join([json.dumps({"settings": self.settings}) + "\n", *lines]), encoding="utf-8")
        fresh.replace(self._path)


def read_answers(path: Path) -> tuple[dict[str, Any] | None, dict[str, Answer]]:
    """Settings (None: the file names none) and answers by name; of two about one recording, the last.

    A last line that a killed run left half-written is passed over.
    """
    if not path.exists():
        return None, {}
    settings, answers = None, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "settings" in entry:
            settings = entry["settings"]
        else:
            name = entry.pop("path")
            answers[name] = Answer(**entry)
    return settings, answers


def _line(name: str, answer: Answer) -> str:
    return json.dumps({"path": name, **asdict(answer)}, ensure_ascii=False) + "\n"
