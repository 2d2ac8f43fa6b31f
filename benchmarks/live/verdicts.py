"""Played turns and the uploads of the same turns → the numbers that must be reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.live.playing import PlayedTurn
from benchmarks.live.uploaded import Upload
from whisper_client.scoring import Score, normalised, score

SILENCE_MS = 500.0  # `silence_duration_ms`, the default: it ends a turn
LONG_TURN_S = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One run. Rates and shares are fractions, waits are seconds."""

    turns: int
    words: int  # of the references
    different: int  # turns whose final text is not the upload's
    final_wer: float
    upload_wer: float
    shown_wer: float  # of all deltas
    settled_share: float  # of the words of turns of LONG_TURN_S and more, before their commit
    long_turns: int
    replaced: int  # turns whose deltas are not the beginning of their final text
    first_word_s: dict[str, float]  # from the end of a turn's first word to its first delta
    each_word_s: dict[str, float]  # the same of every word that was settled before its commit
    final_s: dict[str, float]  # from the end of the silence that ended the turn
    upload_s: dict[str, float]  # of the same turn: what the machine needs for it


def verdict(
    texts: Sequence[str],
    played: Sequence[Sequence[PlayedTurn]],
    uploads: Sequence[Sequence[Upload]],
) -> Verdict:
    """texts: what is said in each programme; uploads: of the turns, in their order."""
    turns = [turn for one in played for turn in one]
    pairs = list(zip(turns, (upload for one in uploads for upload in one), strict=True))
    long = [turn for turn in turns if turn.seconds >= LONG_TURN_S and turn.text]
    finals = _scored(texts, [" ".join(turn.text for turn in one) for one in played])
    return Verdict(
        turns=len(turns),
        words=finals.words.reference,
        different=sum(turn.text != upload.text for turn, upload in pairs),
        final_wer=finals.words.rate,
        upload_wer=_scored(texts, [" ".join(each.text for each in one) for one in uploads]).words.rate,
        shown_wer=_scored(texts, [" ".join(turn.shown for turn in one) for one in played]).words.rate,
        settled_share=_share([(_count(turn.settled), _count(turn.text)) for turn in long]),
        long_turns=len(long),
        replaced=sum(not turn.text.startswith(turn.shown.strip()) for turn in turns),
        first_word_s=quantiles([wait for pair in pairs for wait in _first_word_s(*pair)]),
        each_word_s=quantiles([wait for pair in pairs for wait in _word_waits_s(*pair)]),
        final_s=quantiles([(turn.final_ms - turn.end_ms) / 1000 for turn in turns]),
        upload_s=quantiles([upload.seconds for _, upload in pairs]),
    )


def as_json(found: Verdict) -> dict[str, Any]:
    """Rounded: a millisecond and a hundredth of a percent are noise."""
    return {
        name: {key: round(each, 3) for key, each in value.items()}
        if isinstance(value, dict)
        else round(value, 4)
        for name, value in asdict(found).items()
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and the count."""
    if not values:
        return {"p50": float("nan"), "p95": float("nan"), "count": 0}
    p50, p95 = np.quantile(values, (0.5, 0.95))
    return {"p50": float(p50), "p95": float(p95), "count": len(values)}


def _scored(texts: Sequence[str], found: Sequence[str]) -> Score:
    return sum((score(*pair, normalised) for pair in zip(texts, found, strict=True)), Score())


def _count(text: str) -> int:
    return len(normalised(text).split())


def _share(counts: Sequence[tuple[int, int]]) -> float:
    total = sum(wanted for _, wanted in counts)
    return sum(min(pair) for pair in counts) / total if total else float("nan")


def _first_word_s(turn: PlayedTurn, upload: Upload) -> Iterator[float]:
    if upload.word_ends_ms:
        came_ms = turn.deltas[0][0] if turn.deltas else turn.final_ms
        yield (came_ms - upload.word_ends_ms[0]) / 1000


def _word_waits_s(turn: PlayedTurn, upload: Upload) -> Iterator[float]:
    came_ms = [at_ms for at_ms, text in turn.deltas if at_ms <= turn.committed_ms for _ in text.split()]
    for at_ms, end_ms in zip(came_ms, upload.word_ends_ms, strict=False):
        yield (at_ms - end_ms) / 1000
