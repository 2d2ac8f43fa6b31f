"""Which segments of a window look invented, and where to listen again (whisper/transcribe.py).

Active when `hallucination_silence_threshold` is given: a segment whose words are improbable, too short or
too long, and that is surrounded by silence, is dropped, and decoding resumes behind the silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr.constants import FRAMES_PER_SECOND
from asr.request.options import APPEND_PUNCTUATIONS, PREPEND_PUNCTUATIONS
from asr.text.words import SegmentWords

_PUNCTUATION = PREPEND_PUNCTUATIONS + APPEND_PUNCTUATIONS


@dataclass(frozen=True, slots=True)
class WindowClock:
    """Where a window lies in its utterance."""

    seek: int  # mel frames
    num_frames: int
    content_frames: int  # of the utterance
    start: float  # seconds
    end: float  # seconds; 30 s after start, also where less of the utterance is left
    last_speech: float  # seconds; end of the words before this window


@dataclass(frozen=True, slots=True)
class SilenceVerdict:
    """What becomes of the window's segments."""

    seek: int  # mel frames: decode from here next
    num_kept: int  # of the segments, the first ones
    again: bool = False  # none is kept, and their words do not count as the last speech


def judge(
    segments: Sequence[SegmentWords], clock: WindowClock, seek: int, threshold: float
) -> SilenceVerdict:
    """openai-whisper's two checks; `seek` is where decoding would resume without them."""
    with_words = [segment for segment in segments if segment.words]
    if with_words and is_anomaly(with_words[0]):
        gap = with_words[0].start - clock.start
        if gap > threshold:
            return SilenceVerdict(clock.seek + round(gap * FRAMES_PER_SECOND), 0, again=True)
    before = clock.last_speech
    for i, segment in enumerate(segments):
        if not segment.words:
            continue
        following = next((p for p in segments[i + 1 :] if p.words), None)
        if is_anomaly(segment) and _is_surrounded(segment, before, following, clock, threshold):
            seek = round(max(clock.start + 1, segment.start) * FRAMES_PER_SECOND)
            if clock.content_frames / FRAMES_PER_SECOND - segment.end < threshold:
                seek = clock.content_frames
            return SilenceVerdict(seek, i)
        before = segment.end
    return SilenceVerdict(seek, len(segments))


def _is_surrounded(
    segment: SegmentWords,
    before: float,
    following: SegmentWords | None,
    clock: WindowClock,
    threshold: float,
) -> bool:
    """Whether there is silence, or the edge of the window, on both sides of the segment."""
    next_start = following.words[0].start if following else clock.start + clock.num_frames / FRAMES_PER_SECOND
    silence_before = (
        segment.start - before > threshold or segment.start < threshold or segment.start - clock.start < 2.0
    )
    silence_after = (
        next_start - segment.end > threshold or is_anomaly(following) or clock.end - segment.end < 2.0
    )
    return silence_before and silence_after


def is_anomaly(segment: SegmentWords | None) -> bool:
    """Whether the segment's first eight words are mostly improbable, too short or too long."""
    if segment is None or not segment.words:
        return False
    words = [word for word in segment.words if word.text not in _PUNCTUATION][:8]
    score = sum(_anomaly_score(word.end - word.start, word.probability) for word in words)
    return score >= 3 or score + 0.01 >= len(words)


def _anomaly_score(duration: float, probability: float) -> float:
    score = 1.0 if probability < 0.15 else 0.0
    if duration < 0.133:
        score += (0.133 - duration) * 15
    if duration > 2.0:
        score += duration - 2.0
    return score
