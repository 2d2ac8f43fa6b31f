"""Configurations measured, each in a fresh child process: a crash, threads and memory stay there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.serve.torchserve import SPIN_COUNT
from tune.configurations import Configuration
from tune.measurements import Failure, Sample
from whisper_client.references import Reference

ROOT = Path(__file__).resolve().parents[1]
SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Runner:
    """Measures configurations of one checkpoint on one device."""

    model: Path
    device: str
    references: Sequence[Reference]
    copies: int = 1  # of every recording: a GPU's batch must be filled
    timeout_s: float = 900.0
    module: str = "tune.child"

    def only(self, references: Sequence[Reference]) -> Runner:
        return replace(self, references=tuple(references))

    def measure(self, configuration: Configuration) -> Sample | Failure:
        task = {
            "model": str(self.model),
            "device": self.device,
            "settings": configuration.settings(),
            "clips": [[one.name, str(one.audio), one.language] for one in self.references],
            "copies": self.copies,
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", self.module],
                input=json.dumps(task),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout_s,
                cwd=ROOT,
                env=environment(),
            )
        except subprocess.TimeoutExpired:
            return Failure(f"took longer than {self.timeout_s:g} s")
        if done.returncode != 0:
            return Failure(failure_reason(done.returncode, done.stderr))
        try:
            return Sample(**json.loads(done.stdout))
        except (TypeError, ValueError):
            return Failure(f"answered {done.stdout[:SHOWN_CHARS]!r}")


def environment() -> dict[str, str]:
    """The child's: as serve.sh gives it to workers."""
    found = dict(os.environ)
    if "OMP_WAIT_POLICY" not in found:
        found.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return found


def failure_reason(returncode: int, stderr: str) -> str:
    """Why a child ended, in one line: its signal, else the last line of its traceback."""
    if returncode < 0:
        name = signal.Signals(-returncode).name if -returncode in list(signal.Signals) else -returncode
        return f"crashed by {name}" + (", out of memory perhaps" if name == "SIGKILL" else "")
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit status {returncode}"
    kind, colon, message = last.partition(": ")
    # the error's name says little to a user: "asr.config.ConfigError: engine.precision is …"
    return (message if colon and kind.replace(".", "").isidentifier() else last)[:SHOWN_CHARS]
