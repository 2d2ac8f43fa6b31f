"""Films whose sound starts late or has holes, made in memory, for the tests of the container's clock."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from tests.asr.containers import Signal, tone

PICTURES = {"flv": "flv1", "webm": "libvpx-vp9"}
Piece = tuple[float, float]  # start and length of a stretch of sound, in seconds


def film(
    format: str, codec: str, *pieces: Piece, rate: int = 48_000, seconds: float = 12.0, begin: float = 0.0
) -> bytes:
    """A picture of `seconds` (0: none) beside sound whose timestamps say where each piece lies.

    The whole begins at `begin` seconds on the container's clock.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as output:
        picture = _picture_stream(output, format) if seconds else None
        sound = output.add_stream(codec, rate=rate, layout="mono")
        sound.open()
        packets: list[av.Packet] = []
        if picture is not None:
            for index in range(round(seconds * 10)):
                packets += picture.encode(_picture(index, begin))
            packets += picture.encode(None)
        for start, length in pieces:
            for frame in _frames(sound, tone(length, rate), begin + start):
                packets += sound.encode(frame)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return buffer.getvalue()


def _picture_stream(output: av.container.OutputContainer, format: str) -> av.VideoStream:
    stream = output.add_stream(PICTURES.get(format, "mpeg4"), rate=10)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def _picture(index: int, begin: float) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index % 250, np.uint8), format="rgb24")
    frame.pts, frame.time_base = round(begin * 10) + index, Fraction(1, 10)
    return frame


def _frames(sound: av.AudioStream, signal: Signal, start: float) -> Iterator[av.AudioFrame]:
    rate, context = sound.rate, sound.codec_context
    source = av.AudioFrame.from_ndarray(signal.astype(np.float32)[np.newaxis], format="fltp", layout="mono")
    source.sample_rate = rate
    resampler = av.AudioResampler(
        context.codec.audio_formats[0].name, "mono", rate, frame_size=context.frame_size or 1024
    )
    pts = round(start * rate)
    for frame in [*resampler.resample(source), *resampler.resample(None)]:
        frame.pts, frame.time_base = pts, Fraction(1, rate)
        pts += frame.samples
        yield frame
