"""Configurations measured, each in a child process of its own: a crash, threads and memory stay there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tune.configurations import Configuration
from tune.measurements import Failure, Sample
from tune.processes import MOST_CHILDREN, SHOWN_CHARS, Children
from whisper_client.references import Reference


@dataclass(frozen=True, slots=True)
class Runner:
    """Measures configurations of one checkpoint on one device."""

    model: Path
    device: str
    references: Sequence[Reference]
    copies: int = 1  # of every recording: a GPU's batch must be filled
    timeout_s: float = 900.0
    children: Children = field(default_factory=lambda: Children("tune.child"))

    def only(self, references: Sequence[Reference]) -> Runner:
        """The same with some of the recordings; it shares the children."""
        return replace(self, references=tuple(references))

    def measure(self, configuration: Configuration) -> Sample | Failure:
        task = {
            "model": str(self.model),
            "device": self.device,
            "settings": configuration.settings(),
            "clips": [[one.name, str(one.audio), one.language] for one in self.references],
            "copies": self.copies,
        }
        answer = self.children.answer(json.dumps(task), self.timeout_s)
        if isinstance(answer, Failure):
            return answer
        try:
            return Sample(**json.loads(answer))
        except (TypeError, ValueError):
            return Failure(f"answered {answer[:SHOWN_CHARS]!r}")


def children_for(device: str) -> Children:
    """On a GPU one at a time: idle ones would keep its memory."""
    return Children("tune.child", 1 if device.startswith("cuda") else MOST_CHILDREN)
