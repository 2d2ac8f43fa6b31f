"""The container's clock: where in the track a packet's sound belongs.

If a video's audio track starts late or has a hole, only its timestamps say so: the packets follow one another
without a gap. Subtitles need the file's times, so the rules are:

- The track's first sample is the container's start: the earliest timestamp of any of its streams, the
  picture's included. Sound that starts later has silence in front.
- Where the samples so far end more than `MIN_HOLE` before the next timestamp, silence fills the hole. It
  counts toward the duration limit like any sound. A smaller difference is rounding, jitter or encoder
  priming; differences add up to a hole, so that lost packets of 20 ms do not shift an hour's subtitles.
- Samples are never dropped. A timestamp before the end of the samples so far is ignored; one more than
  `MIN_RESTART` before it starts a new clock there (recordings appended to one another).
- In MPEG streams, whose clock may be reset at any packet, a jump ahead by more than `MAX_BROADCAST_HOLE` is a
  new clock too. Elsewhere a jump is a hole of any length, and the duration limit applies.
- A jump counts only if the next timestamp goes on from there: a single wrong one moves nothing.

Only containers that store timestamps beside the samples have a clock. In WAV, MP3, FLAC, ADTS, AMR or Ogg
files FFmpeg derives them from the samples or from bit rates, and AVI stores none: there, sound follows sound.

openai-whisper reads with the ffmpeg program, which drops the silence in front and closes the holes: its times
of such a file are earlier by that much.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

import av
from av.audio.stream import AudioStream

from asr.audio.reader import Upload
from asr.constants import SAMPLE_RATE

T = TypeVar("T")

MIN_HOLE = SAMPLE_RATE // 10
MIN_RESTART = SAMPLE_RATE
MAX_BROADCAST_HOLE = 60 * SAMPLE_RATE
MAX_STEP = SAMPLE_RATE  # from a timestamp to the next one that confirms it; a packet is shorter
BROADCAST = {"mpegts", "mpeg"}
CLOCKED = BROADCAST | {"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "asf", "flv"}
MICROSECONDS = 1_000_000


class Clock:
    """One reading of an upload's audio track, in samples of 16 kHz."""

    def __init__(self, upload: Upload) -> None:
        container, time_base = upload.container, upload.stream.time_base
        name = container.format.name
        self._ticks = time_base * SAMPLE_RATE if time_base and name in CLOCKED else None
        self._max_hole = MAX_BROADCAST_HOLE if name in BROADCAST else None
        start = container.start_time
        # the clock's time at the track's first sample; None: that of the first timestamp
        self._zero: float | None = None if start is None else round(start * SAMPLE_RATE / MICROSECONDS)

    def time(self, sound: av.Packet[AudioStream] | av.AudioFrame | None) -> int | None:
        """The timestamp of a packet or a frame; None if it has none, or its container has no clock."""
        if sound is None or sound.pts is None or self._ticks is None:
            return None
        return round(sound.pts * self._ticks)

    def place(self, time: int | None, end: float, following: int | None) -> float:
        """Where in the track the sound of `time` belongs: at `end`, the samples so far, or after a hole.

        following: the next sound's timestamp, None if there is none.
        """
        if time is None:
            return end
        if self._zero is None:
            self._zero = time
        ahead = time - self._zero - end
        is_restart = ahead < -MIN_RESTART or (self._max_hole is not None and ahead > self._max_hole)
        if not (is_restart or ahead > MIN_HOLE):
            return end
        if following is not None and not 0 <= following - time <= MAX_STEP:
            return end
        if is_restart:
            self._zero = time - end
            return end
        return end + ahead


def with_next(items: Iterable[T]) -> Iterator[tuple[T, T | None]]:
    """Every item with the one after it, None after the last."""
    these, following = itertools.tee(items)
    next(following, None)
    return itertools.zip_longest(these, following)
