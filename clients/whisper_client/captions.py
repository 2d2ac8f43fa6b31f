"""Turns for people: on a terminal while they are spoken, as lines, as subtitle files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.cells import cell_len

from whisper_client.live_turns import Turn

FLASH_MS = 500  # duration of a turn that has none


class Captioned(Protocol):
    """What is said between two moments, in milliseconds; without a transcript it is left out."""

    @property
    def start_ms(self) -> float: ...
    @property
    def end_ms(self) -> float | None: ...
    @property
    def transcript(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Cue:
    """A finished caption."""

    start_ms: float
    end_ms: float
    transcript: str


class Captions:
    """Prints each turn once it is answered; on a terminal, the words of the first open one as they settle."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._printed = 0  # turns that are lines
        self._growing = ""

    def show(self, turns: Sequence[Turn]) -> None:
        while self._printed < len(turns) and turns[self._printed].is_done:
            self._replace(turns[self._printed].text)
            self.close()
            self._printed += 1
        if self._is_terminal:
            self._replace(turns[self._printed].text if self._printed < len(turns) else "")

    def close(self) -> None:
        """Ends a line that still grows."""
        if self._growing:
            self._write("\n")
            self._growing = ""

    def _replace(self, text: str) -> None:
        """Makes the last line say so; it may have wrapped over several rows."""
        if not text.startswith(self._growing):
            rows = max(cell_len(self._growing) - 1, 0) // shutil.get_terminal_size().columns
            self._write("\r" + (f"\x1b[{rows}A" if rows else "") + "\x1b[J")
            self._growing = ""
        self._write(text[len(self._growing) :])
        self._growing = text

    def _write(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._out.flush()


def srt(turns: Iterable[Captioned]) -> str:
    cues = enumerate(_cues(turns), 1)
    return "".join(f"{n}\n{_time(a, ',')} --> {_time(b, ',')}\n{text}\n\n" for n, (a, b, text) in cues)


def vtt(turns: Iterable[Captioned]) -> str:
    blocks = (
        f"{_time(start, '.')} --> {_time(end, '.')}\n{text.replace('&', '&amp;').replace('<', '&lt;')}\n\n"
        for start, end, text in _cues(turns)
    )
    return "WEBVTT\n\n" + "".join(blocks)


def _cues(turns: Iterable[Captioned]) -> Iterator[tuple[int, int, str]]:
    """Milliseconds and text of each turn that has one, in order and disjoint."""
    last_end = 0
    for turn in turns:
        # an arrow in the text would be taken for times
        text = " ".join((turn.transcript or "").split()).replace("-->", "->")
        if not text:
            continue
        start = max(round(turn.start_ms), last_end)
        last_end = max(round(turn.end_ms or 0), start + FLASH_MS)
        yield start, last_end, text


def _time(ms: int, mark: str) -> str:
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{ms:03}"
