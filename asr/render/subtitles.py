"""Timed text → srt, vtt and tsv. Times are rounded once, to integer milliseconds, and stay integers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from asr.constants import SAMPLE_RATE

FLASH_MS = 500  # for text without a duration of its own, where there is room
ARROW = re.compile(r"-{2,}>")  # a parser would take it for a line of times


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: text on one line, [start, end) in milliseconds."""

    start_ms: int
    end_ms: int
    text: str


def milliseconds(samples: int) -> int:
    """Samples at 16 kHz as milliseconds, halves upwards."""
    return (samples * 1000 + SAMPLE_RATE // 2) // SAMPLE_RATE


def cues(timed: Sequence[tuple[int, int, str]], duration: int) -> list[Cue]:
    """Cues of (start, end, text), in samples, made monotonic, disjoint and within the duration.

    No text is lost: text without any time left is joined to the cue before it.
    """
    duration_ms = max(1, duration * 1000 // SAMPLE_RATE)
    timed = [(milliseconds(start), milliseconds(end), one_line(text)) for start, end, text in timed]
    timed = [entry for entry in timed if entry[2]]
    made: list[Cue] = []
    for index, (start, end, text) in enumerate(timed):
        start = max(start, made[-1].end_ms if made else 0)
        if min(end, duration_ms) <= start:
            following = timed[index + 1][0] if index + 1 < len(timed) else duration_ms
            end = min(start + FLASH_MS, following)
        end = min(end, duration_ms)
        if end > start:
            made.append(Cue(start, end, text))
        elif made:
            made[-1] = replace(made[-1], text=f"{made[-1].text} {text}")
        else:
            made.append(Cue(min(start, duration_ms - 1), min(start + 1, duration_ms), text))
    return made


def one_line(text: str) -> str:
    """`text` on one line, its arrows shortened."""
    return ARROW.sub("->", " ".join(text.split()))


def srt(made: Sequence[Cue]) -> str:
    """SubRip."""
    return "".join(
        f"{number}\n{timestamp(cue.start_ms, ',')} --> {timestamp(cue.end_ms, ',')}\n{cue.text}\n\n"
        for number, cue in enumerate(made, 1)
    )


def vtt(made: Sequence[Cue]) -> str:
    """WebVTT."""
    blocks = [
        f"{timestamp(cue.start_ms, '.')} --> {timestamp(cue.end_ms, '.')}\n{_escaped(cue.text)}\n\n"
        for cue in made
    ]
    return "WEBVTT\n\n" + "".join(blocks)


def tsv(made: Sequence[Cue]) -> str:
    """Tab-separated start and end in milliseconds and text, as whisper's command line writes them."""
    return "start\tend\ttext\n" + "".join(f"{cue.start_ms}\t{cue.end_ms}\t{cue.text}\n" for cue in made)


def timestamp(ms: int, decimal_mark: str) -> str:
    """00:00:01,001"""
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{decimal_mark}{ms % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
