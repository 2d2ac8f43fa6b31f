"""Which segments of a window look invented, and where to listen again (whisper/transcribe.py).

Active when `hallucination_silence_threshold` is given: a segment whose words are improbable, too short or
too long, and that is surrounded by silence, is dropped, and decoding resumes behind the silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr.constants import FRAMES_PER_SECOND
from asr.request.options import APPEND_PUNCTUATIONS, PREPEND_PUNCTUATIONS
from asr.text.words import TimedPiece

_PUNCTUATION = PREPEND_PUNCTUATIONS + APPEND_PUNCTUATIONS


@dataclass(frozen=True, slots=True)
class WindowClock:
    """Where a window lies in its utterance."""

    seek: int  # mel frames
    num_frames: int
    content_frames: int  # of the utterance
    start: float  # seconds
    end: float  # seconds; 30 s after start, whatever is left of the utterance
    last_speech: float  # seconds: where the words before this window ended


@dataclass(frozen=True, slots=True)
class Finding:
    """What to do with the window's pieces."""

    seek: int  # mel frames: decode from here next
    num_pieces: int  # keep so many
    again: bool = False  # nothing is kept and the words so far do not count


def judge(pieces: Sequence[TimedPiece], clock: WindowClock, seek: int, threshold: float) -> Finding:
    """Upstream's two checks; `seek` is where decoding would resume without them."""
    with_words = [piece for piece in pieces if piece.words]
    if with_words and is_anomaly(with_words[0]):
        gap = with_words[0].start - clock.start
        if gap > threshold:
            return Finding(clock.seek + round(gap * FRAMES_PER_SECOND), 0, again=True)
    before = clock.last_speech
    for i, piece in enumerate(pieces):
        if not piece.words:
            continue
        following = next((p for p in pieces[i + 1 :] if p.words), None)
        if is_anomaly(piece) and _is_surrounded(piece, before, following, clock, threshold):
            seek = round(max(clock.start + 1, piece.start) * FRAMES_PER_SECOND)
            if clock.content_frames / FRAMES_PER_SECOND - piece.end < threshold:
                seek = clock.content_frames
            return Finding(seek, i)
        before = piece.end
    return Finding(seek, len(pieces))


def _is_surrounded(
    piece: TimedPiece,
    before: float,
    following: TimedPiece | None,
    clock: WindowClock,
    threshold: float,
) -> bool:
    """Whether there is silence, or the edge of the window, on both sides of the piece."""
    next_start = following.words[0].start if following else clock.start + clock.num_frames / FRAMES_PER_SECOND
    silence_before = (
        piece.start - before > threshold or piece.start < threshold or piece.start - clock.start < 2.0
    )
    silence_after = next_start - piece.end > threshold or is_anomaly(following) or clock.end - piece.end < 2.0
    return silence_before and silence_after


def is_anomaly(piece: TimedPiece | None) -> bool:
    """Whether the piece's first eight words are mostly improbable, too short or too long."""
    if piece is None or not piece.words:
        return False
    words = [word for word in piece.words if word.text not in _PUNCTUATION][:8]
    score = sum(_anomaly_score(word.end - word.start, word.probability) for word in words)
    return score >= 3 or score + 0.01 >= len(words)


def _anomaly_score(duration: float, probability: float) -> float:
    score = 1.0 if probability < 0.15 else 0.0
    if duration < 0.133:
        score += (0.133 - duration) * 15
    if duration > 2.0:
        score += duration - 2.0
    return score
