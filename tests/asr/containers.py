"""Real files of many containers and codecs, made in memory, for the tests."""

from __future__ import annotations

import functools
import io
import struct
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]  # mono, within [-1, 1]


@dataclass(frozen=True)
class Container:
    """One way to store sound; `lossy` ones come back similar, the others within rounding."""

    name: str
    format: str
    codec: str
    sample_rate: int = 44_100
    layout: str = "stereo"
    bit_rate: int | None = None
    lossy: bool = True


CONTAINERS = (
    Container("wav_u8", "wav", "pcm_u8", 11_025, "mono", lossy=False),
    Container("wav_s16", "wav", "pcm_s16le", 16_000, "mono", lossy=False),
    Container("wav_s24", "wav", "pcm_s24le", 48_000, "5.1", lossy=False),
    Container("wav_s32", "wav", "pcm_s32le", 44_100, lossy=False),
    Container("wav_f32", "wav", "pcm_f32le", 96_000, "quad", lossy=False),
    Container("wav_f64", "wav", "pcm_f64le", 8_000, "mono", lossy=False),
    Container("wav_mulaw", "wav", "pcm_mulaw", 8_000, "mono"),
    Container("wav_adpcm", "wav", "adpcm_ima_wav", 22_050, "mono"),
    Container("w64", "w64", "pcm_s16le", 22_050, lossy=False),
    Container("aiff", "aiff", "pcm_s16be", 44_100, lossy=False),
    Container("caf", "caf", "pcm_s16be", 44_100, lossy=False),
    Container("au", "au", "pcm_s16be", 8_000, "mono", lossy=False),
    Container("flac", "flac", "flac", 44_100, lossy=False),
    Container("ogg_flac", "ogg", "flac", 48_000, lossy=False),
    Container("wavpack", "wv", "wavpack", 44_100, lossy=False),
    Container("tta", "tta", "tta", 44_100, lossy=False),
    Container("mp3", "mp3", "libmp3lame", 44_100, bit_rate=128_000),
    Container("mp3_8k", "mp3", "libmp3lame", 8_000, "mono", bit_rate=16_000),
    Container("mp2", "mp2", "mp2", 44_100, bit_rate=192_000),
    Container("ogg_vorbis", "ogg", "vorbis", 44_100),
    Container("ogg_opus", "ogg", "libopus", 48_000, bit_rate=32_000),
    Container("webm", "webm", "libopus", 48_000, "mono", bit_rate=32_000),
    Container("mkv_pcm", "matroska", "pcm_s16le", 44_100, lossy=False),
    Container("m4a", "ipod", "aac", 44_100, bit_rate=96_000),
    Container("mov_pcm", "mov", "pcm_s16le", 44_100, lossy=False),
    Container("mov_alac", "mov", "alac", 44_100, lossy=False),
    Container("adts", "adts", "aac", 44_100, bit_rate=96_000),
    Container("mpegts", "mpegts", "aac", 48_000, bit_rate=96_000),
    Container("ac3", "ac3", "ac3", 48_000, bit_rate=192_000),
    Container("amr", "amr", "libopencore_amrnb", 8_000, "mono", bit_rate=12_200),
    Container("3gp_amr", "3gp", "libopencore_amrnb", 8_000, "mono", bit_rate=12_200),
    Container("wma", "asf", "wmav2", 44_100, bit_rate=128_000),
    Container("avi", "avi", "mp3", 44_100, bit_rate=128_000),
    Container("mxf_opatom", "mxf_opatom", "pcm_s16le", 48_000, "mono", lossy=False),
    Container("rm_ac3", "rm", "ac3", 44_100, bit_rate=192_000),
    Container("rm_144", "rm", "real_144", 8_000, "mono"),
    Container("flv", "flv", "mp3", 44_100, bit_rate=128_000),
)


def tone(seconds: float, sample_rate: int = 16_000) -> Signal:
    """A gliding, pulsing tone between 200 and 900 Hz, peak 0.5; every moment differs from the next."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    sweep = np.sin(2 * np.pi * (200 * t + 50 * np.sin(2 * np.pi * 0.7 * t)))
    return np.asarray(0.5 * sweep * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)))


def wav(signal: Signal, sample_rate: int = 16_000) -> bytes:
    """A 16-bit mono WAV file."""
    return encode(Container("wav", "wav", "pcm_s16le", sample_rate, "mono"), signal)


def riff(
    pcm: bytes, *, channels: int, sample_bytes: int = 2, floats: bool = False, rate: int = 16_000
) -> bytes:
    """A WAV file of these very bytes, whatever the header then says."""
    frame = channels * sample_bytes
    kind = struct.pack("<HHIIHH", 3 if floats else 1, channels, rate, rate * frame, frame, 8 * sample_bytes)
    chunks = b"WAVEfmt " + struct.pack("<I", len(kind)) + kind + b"data" + struct.pack("<I", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def encode(container: Container, signal: Signal, *, options: dict[str, str] | None = None) -> bytes:
    """`signal`, taken to be at the container's rate, in all of its channels."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container.format) as output:
        stream = output.add_stream(
            _encoder(container.codec),
            rate=container.sample_rate,
            layout=container.layout,
            options={"strict": "experimental", **(options or {})},
        )
        if container.bit_rate:
            stream.bit_rate = container.bit_rate
        stream.time_base = Fraction(1, container.sample_rate)
        for frame in _frames(container, signal, stream):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _encoder(codec: str) -> str:
    return {"mp3": "libmp3lame"}.get(codec, codec)


def _frames(container: Container, signal: Signal, stream: av.AudioStream):  # type: ignore[no-untyped-def]
    sample_format = stream.codec_context.codec.audio_formats[0].name
    channels = av.AudioLayout(container.layout).nb_channels
    pcm = np.repeat(signal.astype(np.float32)[None], channels, axis=0)
    source = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm), format="fltp", layout=container.layout)
    source.sample_rate = container.sample_rate
    if not stream.codec_context.is_open:
        stream.open()
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(sample_format, container.layout, container.sample_rate, frame_size=size)
    pts = 0
    for frame in [*resampler.resample(source), *resampler.resample(None)]:
        frame.pts = pts
        frame.time_base = Fraction(1, container.sample_rate)
        pts += frame.samples
        yield frame


@functools.cache
def stored(container: Container, seconds: float) -> bytes:
    """`tone(seconds)` in that container."""
    return encode(container, tone(seconds, container.sample_rate))


class _WriteOnly:
    """A destination that cannot seek, as a live stream: the muxer cannot write the length into the header."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self.parts.append(bytes(part))
        return len(part)


def silence(
    container: Container, seconds: float, options: dict[str, str] | None = None, *, live: bool = False
) -> bytes:
    """Digital silence, encoded frame by frame: hours cost little memory."""
    sink = _WriteOnly()
    buffer = io.BytesIO()
    with av.open(sink if live else buffer, "w", format=container.format) as output:
        stream = output.add_stream(
            container.codec, rate=container.sample_rate, layout=container.layout, options=options or {}
        )
        if container.bit_rate:
            stream.bit_rate = container.bit_rate
        stream.open()
        size = stream.codec_context.frame_size or 4096
        frame = av.AudioFrame(stream.codec_context.codec.audio_formats[0].name, container.layout, size)
        frame.sample_rate = container.sample_rate
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for pts in range(0, round(seconds * container.sample_rate), size):
            frame.pts = pts
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return b"".join(sink.parts) if live else buffer.getvalue()


def repeated_flac(minutes: int, *, declared_samples: int) -> bytes:
    """FLAC at 8 kHz, one encoded minute of silence again and again; declared_samples 0 means unknown."""
    minute = silence(Container("flac", "flac", "flac", 8_000, "mono"), 60)
    start, is_last = 4, False
    while not is_last:  # over the metadata blocks, STREAMINFO first
        is_last = bool(minute[start] & 0x80)
        start += 4 + int.from_bytes(minute[start + 1 : start + 4], "big")
    header = bytearray(minute[:start])
    header[21] = header[21] & 0xF0 | declared_samples >> 32
    header[22:26] = (declared_samples & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(header) + minute[start:] * minutes


MP4 = Container("mp4", "mp4", "aac")
MXF = Container("mxf", "mxf", "pcm_s16le", 48_000)


def video(container: Container = MP4, codec: str = "mpeg4", *, with_audio: bool) -> bytes:
    """Two seconds of a small picture, with a tone or without."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container.format) as output:
        picture = output.add_stream(codec, rate=25)
        assert isinstance(picture, av.VideoStream)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = None
        if with_audio:
            sound = output.add_stream(container.codec, rate=container.sample_rate, layout=container.layout)
        for index in range(50):
            image = np.full((48, 64, 3), index * 4, np.uint8)
            output.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(picture.encode(None))
        if isinstance(sound, av.AudioStream):
            for frame in _frames(container, tone(2.0, container.sample_rate), sound):
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return buffer.getvalue()
