"""An upload opened by FFmpeg from memory, and its packets, read past damage."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError

from asr.audio.allocations import MAX_STREAMS, bound_allocations
from asr.errors import InvalidAudio, UnsupportedMedia
from asr.schema import MediaSource

Body = bytes | bytearray | memoryview

# Formats that hold their audio themselves. FFmpeg knows more than 300; some of them (playlists, image
# sequences, virtual devices) read other files and addresses.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,flv,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpeg,mpegts,mxf,nistsphere,ogg,rm,sox,tta,voc,w64,wav,wv"
)
# How far FFmpeg looks for a late track, in microseconds and bytes. With its defaults, 5 s and 5 MB, it finds
# no sound in an MPEG stream whose sound starts later.
LATE_TRACK_OPTIONS = {"analyzeduration": "60000000", "probesize": "32000000"}

MIN_SAMPLE_RATE = 4_000  # Hz; a lying header with 1 Hz would turn a second into hours
MAX_SAMPLE_RATE = 768_000  # Hz
MAX_CHANNELS = 32
MAX_READ_ERRORS = 16  # demuxing goes on after an error, but not for ever
MAX_BAD_PACKETS = 200  # beyond it, an upload is refused once more than half of its packets are bad


# FFmpeg reads plain PCM in packets of a sixteenth of a second, and looks through 32 of them, again and again,
# for DTS that calls itself PCM: 2 ms for a file of 16 kHz mono, 15 ms for one of 48 kHz stereo. Where no DTS
# can be, it need not look, and large packets cost less than small ones.
PCM_WAV_OPTIONS = {"max_size": "16384", "max_probe_packets": "1"}
DTS_SYNC_WORDS = (
    (0xFE7F, 0x0180),
    (0x7FFE, 0x8001),
    (0xFF1F, 0x00E8),
    (0x1FFF, 0xE800),
)  # little-endian pairs
DTS_SEARCH_BYTES = 512 * 1024  # as far as FFmpeg looks


def unsupported(reason: str) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"the upload is not audio this server can decode: {reason}. "
        "Send wav, flac, mp3, ogg, opus, m4a, webm, mp4, amr, wma, aiff or the like",
        param="file",
    )


class MemoryFile(io.RawIOBase):
    """A read-only file over `body`, without a copy of it (BytesIO copies a bytearray)."""

    def __init__(self, body: Body) -> None:
        self._body = memoryview(body).cast("B")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        end = len(self._body) if size < 0 else self._position + size
        piece = bytes(self._body[self._position : end])
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._body)}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position


@dataclass(frozen=True)
class Upload:
    """An open container and the audio track to read."""

    container: InputContainer
    stream: AudioStream

    def rewind(self) -> bool:
        """Goes back to the first packet, which is safe in plain PCM only; returns whether it did."""
        is_plain = self.container.format.name == "wav" and self.stream.codec_context.name.startswith("pcm_")
        if is_plain:
            self.container.seek(0)
        return is_plain

    def source(self, bad_packets: int) -> MediaSource:
        context = self.stream.codec_context
        return MediaSource(
            container=self.container.format.name,
            codec=context.codec.canonical_name,
            sample_rate=context.sample_rate,
            channels=context.channels,
            bad_packets=bad_packets,
        )


@contextmanager
def open_upload(body: Body) -> Iterator[Upload]:
    """The container in `body`, open, with its best audio track; raises UnsupportedMedia."""
    bound_allocations()
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "", "max_streams": str(MAX_STREAMS)}
    options |= LATE_TRACK_OPTIONS
    if _is_pcm_wav(body):
        options |= PCM_WAV_OPTIONS
    try:
        container = av.open(MemoryFile(body), "r", options=options, metadata_errors="ignore")
    except (FFmpegError, ValueError) as error:
        raise unsupported(f"no known container ({_reason(error)})") from error
    with container:
        yield Upload(container, _audio_stream(container))


def _is_pcm_wav(body: Body) -> bool:
    """Whether it is a WAV of integer PCM, and not DTS that calls itself PCM."""
    head = bytes(body[:22])
    if head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt " or head[20:] != b"\x01\x00":
        return False
    words = np.frombuffer(body, "<u2", count=min(len(body), DTS_SEARCH_BYTES) // 2)
    return not any(((words[:-1] == first) & (words[1:] == second)).any() for first, second in DTS_SYNC_WORDS)


def _audio_stream(container: InputContainer) -> AudioStream:
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        kinds = sorted({other.type for other in container.streams})
        raise unsupported(f"it holds no audio track (found: {', '.join(kinds) or 'nothing'})")
    context = stream.codec_context
    if context is None:
        raise unsupported("its audio codec is not known")
    if not MIN_SAMPLE_RATE <= context.sample_rate <= MAX_SAMPLE_RATE:
        raise unsupported(f"its sample rate is {context.sample_rate} Hz, below 4 kHz or above 768 kHz")
    if not 1 <= context.channels <= MAX_CHANNELS:
        raise unsupported(f"it has {context.channels} channels, must be 1..{MAX_CHANNELS}")
    return stream


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).strip()


class Packets:
    """The packets of one track, and their frames; damaged ones are skipped and counted in `num_bad`."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.num_read = 0
        self.num_bad = 0

    def __iter__(self) -> Iterator[av.Packet[AudioStream]]:
        """Packets in stream order, the empty one that flushes the decoder last."""
        read_errors = 0
        while read_errors <= MAX_READ_ERRORS:
            try:
                for packet in self._upload.container.demux(self._upload.stream):
                    self.num_read += 1
                    yield packet
                return
            except (FFmpegError, ValueError):
                read_errors += 1
                self.num_bad += 1

    def frames(self) -> Iterator[av.AudioFrame]:
        """Decoded frames; raises InvalidAudio when most packets are damaged."""
        for packet in self:
            try:
                frames = packet.decode()
            except (FFmpegError, ValueError):
                self.num_bad += 1
                self._check_damage()
                continue
            yield from frames

    def _check_damage(self) -> None:
        if self.num_bad > MAX_BAD_PACKETS and self.num_bad * 2 > self.num_read:
            raise InvalidAudio(
                f"{self.num_bad} of the upload's first {self.num_read} packets are damaged", param="file"
            )
