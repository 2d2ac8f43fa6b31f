"""Bytes of any container → mono PCM at 16 kHz, in memory, with every cap checked while decoding.

PyAV carries FFmpeg's libraries, so that nothing else needs to be installed. Sample values equal those of
openai-whisper's `load_audio` within 3 of 32768: both are FFmpeg's s16 mono at 16 kHz.
"""

from __future__ import annotations

from contextlib import ExitStack

import av
import numpy as np
from av.error import FFmpegError

from asr.audio.clock import Clock, with_next
from asr.audio.length import StoredLength, stored_length, too_long
from asr.audio.reader import Body, Packets, open_upload, unsupported
from asr.config import Limits
from asr.constants import SAMPLE_RATE
from asr.errors import InvalidAudio, TooLarge, UnsupportedMedia
from asr.schema import Audio, MediaSource, Samples

FIRST_BUFFER_SECONDS = 60  # allocated at least


def decode(body: Body, limits: Limits) -> Audio:
    """The upload's audio track as int16 samples, mono, 16 kHz.

    Raises InvalidAudio (no bytes, no samples, most of it damaged), UnsupportedMedia (no audio track, unknown
    container or codec) and TooLarge (more bytes or seconds than `limits` allow). Damaged packets are skipped
    and counted in `source.bad_packets`. Never opens a file or an address named in the upload.
    """
    _check_size(body, limits)
    with ExitStack() as opened:
        upload = opened.enter_context(open_upload(body))
        length = stored_length(upload, len(body), limits.max_audio_seconds)
        if not upload.rewind():
            upload = opened.enter_context(open_upload(body))
        track = _Track(length, limits.max_audio_seconds)
        packets = Packets(upload)
        try:
            _fill(track, packets, Clock(upload))
        except (FFmpegError, ValueError) as error:
            kind = upload.source(packets.num_bad)
            found = f"{kind.codec}, {kind.sample_rate} Hz, {kind.channels} channels"
            raise unsupported(f"its audio ({found}) cannot be converted to 16 kHz mono") from error
        source = upload.source(packets.num_bad)
    samples = track.samples()
    if not len(samples):
        raise _no_samples(source)
    return Audio(samples, source)


def _check_size(body: Body, limits: Limits) -> None:
    if not len(body):
        raise InvalidAudio("the upload is empty; send the bytes of an audio file", param="file")
    if len(body) > limits.max_upload_bytes:
        raise TooLarge(
            f"the upload has {len(body)} bytes, this server takes at most {limits.max_upload_bytes}",
            param="file",
        )


def _fill(track: _Track, packets: Packets, clock: Clock) -> None:
    """Puts every decoded frame where it belongs in the track."""
    resampler = _Resampler()
    for frame, following in with_next(packets.frames()):
        place = round(clock.place(clock.time(frame), track.size, clock.time(following)))
        if place > track.size:
            track.extend(resampler.flush())
            track.append_silence(place - track.size)
        track.extend(resampler.resample(frame))
    track.extend(resampler.flush())


def _no_samples(source: MediaSource) -> InvalidAudio | UnsupportedMedia:
    if source.bad_packets:
        return unsupported(f"none of its {source.bad_packets} packets ({source.codec}) can be decoded")
    return InvalidAudio(
        f"the upload is a {source.container} file without any audio samples in it", param="file"
    )


class _Resampler:
    """FFmpeg's resampler to s16 mono 16 kHz, made anew where the track changes its format.

    Concatenated mp3 and chained ogg change rate or channels inside one track. PyAV's resampler refuses a
    change, or overlooks it where it passes samples through.
    """

    def __init__(self) -> None:
        self._input: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None

    def resample(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        if frame.layout.name == f"{frame.layout.nb_channels} channels":
            frame = _mixed(frame)
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        finished: list[av.AudioFrame] = []
        if self._resampler is None or kind != self._input:
            finished = self.flush()
            self._resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
            self._input = kind
        frame.pts = None  # FFmpeg must neither drop nor invent samples: asr.audio.clock places them
        return [*finished, *self._resampler.resample(frame)]

    def flush(self) -> list[av.AudioFrame]:
        if self._resampler is None:
            return []
        rest = self._resampler.resample(None)
        self._resampler = None
        return rest


def _mixed(frame: av.AudioFrame) -> av.AudioFrame:
    """The mean of the channels. FFmpeg mixes only layouts it knows, and it knows none of 9 or 32 channels."""
    planes = frame.to_ndarray()
    channels = planes if frame.format.is_planar else planes.reshape(frame.samples, -1).T
    mean = channels.mean(axis=0, dtype=np.float64).astype(planes.dtype)
    mono = av.AudioFrame.from_ndarray(mean[np.newaxis], frame.format.packed.name, "mono")
    mono.sample_rate = frame.sample_rate
    return mono


class _Track:
    """Decoded samples in one buffer, refused as soon as they exceed a limit.

    The buffer is allocated for the scanned length: the pages of an allocation cost memory only once written,
    and growing or joining chunks would hold four hours of audio twice.
    """

    def __init__(self, length: StoredLength, max_seconds: float) -> None:
        self._length = length
        self._max_seconds = max_seconds
        self._max_samples = round(max_seconds * SAMPLE_RATE)
        expected = max(length.seconds * 1.01 + 1.0, FIRST_BUFFER_SECONDS)
        self._buffer = np.empty(round(min(expected, max_seconds + 1.0) * SAMPLE_RATE), np.int16)
        self.size = 0  # samples so far

    def extend(self, frames: list[av.AudioFrame]) -> None:
        for frame in frames:
            start = self._grow(frame.samples)
            self._buffer[start : self.size] = frame.to_ndarray()[0]

    def append_silence(self, num_samples: int) -> None:
        start = self._grow(num_samples)
        self._buffer[start : self.size] = 0

    def _grow(self, num_samples: int) -> int:
        """Makes room for `num_samples`; returns where they begin."""
        start, end = self.size, self.size + num_samples
        if end > self._max_samples:
            raise too_long(f"more than {self._max_seconds:g}", self._max_seconds)
        if end > self._length.max_plausible_seconds * SAMPLE_RATE:
            raise InvalidAudio(
                f"the upload decodes to more than {end / SAMPLE_RATE:.0f} s of audio where its packets "
                f"announce {self._length.seconds:.0f} s; it is damaged or made to exhaust memory",
                param="file",
            )
        if end > len(self._buffer):
            self._buffer.resize(max(end, len(self._buffer) * 3 // 2), refcheck=False)
        self.size = end
        return start

    def samples(self) -> Samples:
        return self._buffer[: self.size]
