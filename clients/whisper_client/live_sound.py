"""Where live sound comes from: a file at real time, standard input, the microphone. All give 16-bit PCM."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import av

from whisper_client.errors import BadArgument
from whisper_client.tape import CHUNK_BYTES, CHUNK_MS, RATE

FFMPEG = f"ffmpeg -i FILE -f s16le -ar {RATE} -ac 1 - | python clients/live.py -"
CONTAINERS = (b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1a\x45\xdf\xa3")  # files, where bare samples are wanted
EXTRA = "pip install -r requirements-live.txt"


class Paced:
    """Chunks no earlier than their last sample would be spoken; a source that stalled may catch up."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._chunks, self._clock, self._sleep = chunks, clock, sleep
        self.began_at: float | None = None

    def __iter__(self) -> Iterator[bytes]:
        self.began_at = due = self._clock()
        for chunk in self._chunks:
            due += CHUNK_MS / 1000
            self._sleep(max(0.0, due - self._clock()))
            yield chunk

    def spoken_at(self, ms: float) -> float:
        """When that place of the sound was due, by the clock."""
        return (self.began_at or 0.0) + ms / 1000


def file_chunks(path: Path) -> Iterator[bytes]:
    """A file's sound, decoded while it is read; raises BadArgument."""
    try:
        container = av.open(str(path))
        if not container.streams.audio:
            raise BadArgument(f"no sound in {path}")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BadArgument(f"cannot read sound from {path}: {error}") from error
    return rechunked(_decoded(container, path))


def stdin_chunks(stdin: BinaryIO) -> Iterator[bytes]:
    """Bare samples as they come; raises BadArgument where they are a file of some format."""
    first = stdin.read(CHUNK_BYTES)
    if first.startswith(CONTAINERS):
        raise BadArgument(f"stdin holds a file, not bare samples: {FFMPEG}")
    return _read(first, stdin)


def microphone_chunks(device: str | None) -> Iterator[bytes]:
    """What the microphone hears, without an end; raises BadArgument."""
    try:
        sounddevice: Any = importlib.import_module("sounddevice")
    except ImportError as error:
        raise BadArgument(f"the microphone needs sounddevice: {EXTRA}") from error
    except OSError as error:
        raise BadArgument(f"sounddevice finds no PortAudio ({error}): apt install libportaudio2") from error
    heard = SimpleQueue[bytes]()
    try:
        microphone = sounddevice.RawInputStream(
            samplerate=RATE,
            channels=1,
            dtype="int16",
            blocksize=CHUNK_BYTES // 2,
            device=int(device) if device and device.isdigit() else device,
            callback=lambda samples, *_: heard.put(bytes(samples)),
        )
        microphone.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise BadArgument(f"no microphone: {error}; python -m sounddevice lists them for --device") from error
    return _heard(microphone, heard)


def rechunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of one length; the last may be shorter."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)


def _decoded(container: Any, path: Path) -> Iterator[bytes]:
    resampler = av.AudioResampler("s16", "mono", RATE)
    with container:
        try:
            for frame in chain(container.decode(audio=0), [None]):
                for part in resampler.resample(frame):
                    yield part.to_ndarray().tobytes()
        except (av.FFmpegError, ValueError) as error:
            raise BadArgument(f"cannot read sound from {path}: {error}") from error


def _read(first: bytes, stdin: BinaryIO) -> Iterator[bytes]:
    chunk = first
    while chunk:
        yield chunk[: len(chunk) // 2 * 2]
        chunk = stdin.read(CHUNK_BYTES)


def _heard(microphone: Any, heard: SimpleQueue[bytes]) -> Iterator[bytes]:
    with microphone:
        while True:
            yield heard.get()
