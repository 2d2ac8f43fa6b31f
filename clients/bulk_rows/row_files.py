"""`rows.jsonl`, written as rows come: a killed run leaves whole rows, and the next one goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bulk_rows.rows import Row, from_mapping, to_json
from bulk_rows.totals import Outcome, outcome_of
from whisper_client.errors import BadArgument

try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are not noticed there
    fcntl = None  # type: ignore[assignment]


class RowFile:
    """The rows of one run after the other, no id twice; a context manager that one process may hold."""

    def __init__(self, path: Path, *, resume: bool, retry_errors: bool = False) -> None:
        """Raises BadArgument where rows are and `resume` is not asked for, or another process writes them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size and not resume:
            raise BadArgument(f"{path} holds rows: go on with --resume, or give another folder")
        self.path = path
        self._lock = _locked(path.with_name(path.name + ".lock"))
        self.outcomes = _settled(path, retry_errors)
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def add(self, row: Row) -> None:
        """Writes the row; it survives the death of this process."""
        self._file.write(to_json(row) + "\n")
        self._file.flush()
        self.outcomes[row.id] = outcome_of(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        self._lock.close()


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a finished file; raises BadArgument."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            try:
                yield from_mapping(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise BadArgument(f"{path}:{number} is no row: {error!r}") from error


def _settled(path: Path, retry_errors: bool) -> dict[str, Outcome]:
    """The outcome of each row that stays by its id; the file holds these alone afterwards.

    A line that a killed process did not finish goes, and with `retry_errors` every error.
    """
    if not path.exists():
        return {}
    with path.open("rb") as old:
        end = _end_of_last_line(old)
    os.truncate(path, end)
    if not retry_errors:
        return {row.id: outcome_of(row) for row in read_rows(path)}
    outcomes = {}
    written = path.with_name(path.name + ".part")
    with written.open("w", encoding="utf-8", newline="\n") as file:
        for row in read_rows(path):
            if row.ok:
                file.write(to_json(row) + "\n")
                outcomes[row.id] = outcome_of(row)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)
    return outcomes


def _end_of_last_line(file: IO[bytes]) -> int:
    end = 0
    for line in file:
        end += len(line) if line.endswith(b"\n") else 0
    return end


def _locked(path: Path) -> IO[bytes]:
    file = path.open("ab")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise BadArgument(f"another process writes into {path.parent}") from None
    return file
