"""The systems that are compared: each on the same weights, with its own way from a file to a text."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from benchmarks.wer.answers import Answer
from whisper_client.references import Reference

FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # openai-whisper's temperatures


@dataclass(frozen=True, slots=True)
class Setup:
    """What the command line says about how the systems are run."""

    checkpoint: Path  # in OpenAI's format
    ct2_folder: Path | None  # the same weights as a CTranslate2 model
    threads: int
    is_told: bool  # the language of the reference is given; else every system detects it
    url: str | None  # a running gateway of ours, e.g. http://127.0.0.1:8000
    concurrency: int  # requests under way at our server


class System(Protocol):
    """One system. `settings` names all that its answers depend on, as JSON values, without loading it."""

    def settings(self) -> dict[str, Any]: ...

    def answers(self, references: Sequence[Reference]) -> Iterator[tuple[Reference, Answer]]:
        """An answer for each recording, in any order; raises Unavailable where it cannot run here."""
        ...


class Unavailable(Exception):
    """Why a system cannot run on this machine: the page says it instead of a number."""


def one_by_one(
    references: Sequence[Reference], transcribe: Callable[[Reference], tuple[str, str]]
) -> Iterator[tuple[Reference, Answer]]:
    """Answers of `transcribe`, which returns text and language; what it raises becomes the answer's error."""
    for reference in references:
        begun = time.perf_counter()
        try:
            text, language = transcribe(reference)
        except Exception as error:  # one bad file must not end an hour of work
            yield reference, Answer("", error=f"{type(error).__name__}: {error}"[:300])
        else:
            yield reference, Answer(text, language, time.perf_counter() - begun)


def need(path: Path | None, what: str) -> Path:
    """The path; raises Unavailable where it is not there."""
    if path is None or not path.exists():
        raise Unavailable(f"no {what}" + (f" at {path}" if path else ": name it on the command line"))
    return path


def need_package(name: str) -> str:
    """The installed version; raises Unavailable."""
    try:
        return version(name)
    except PackageNotFoundError:
        raise Unavailable(f"{name} is not installed (benchmarks/requirements.txt)") from None


@cache
def sha256(path: Path) -> str:
    """Of a file, or of the contents of a folder's Python and YAML files, in order of their names."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted([*path.rglob("*.py"), *path.rglob("*.yaml")])
    for file in files:
        digest.update(file.name.encode() if file != path else b"")
        digest.update(file.read_bytes())
    return digest.hexdigest()
