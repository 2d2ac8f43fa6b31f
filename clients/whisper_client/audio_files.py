"""Audio files on this machine: which they are, and how long."""

from __future__ import annotations

import wave
from collections.abc import Iterable
from pathlib import Path

from whisper_client.errors import BadArgument

AUDIO_SUFFIXES = (
    ".wav",
    ".flac",
    ".mp3",
    ".mpga",
    ".ogg",
    ".oga",
    ".opus",
    ".m4a",
    ".aac",
    ".amr",
    ".wma",
    ".aiff",
)
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".mpeg", ".avi")
MEDIA_SUFFIXES = frozenset(AUDIO_SUFFIXES + VIDEO_SUFFIXES)


def find_audio(paths: Iterable[str | Path]) -> list[Path]:
    """Files as given, and media files inside folders, sorted; raises BadArgument where there is none."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in MEDIA_SUFFIXES)
            found += [file for file in inside if file.is_file()]
        elif path.exists():
            found.append(path)
        else:
            raise BadArgument(f"no file {path}")
    if not found:
        raise BadArgument(f"no audio in {', '.join(map(str, paths))}: give files, or folders that hold some")
    return found


def audio_seconds(path: Path) -> float | None:
    """The length that the file's header states, None where no reader at hand can tell."""
    for read in (_wave_seconds, _soundfile_seconds, _av_seconds):
        seconds = read(path)
        if seconds is not None and seconds > 0:
            return seconds
    return None


def _wave_seconds(path: Path) -> float | None:
    try:
        with wave.open(str(path), "rb") as reader:
            num_bytes = reader.getnframes() * reader.getnchannels() * reader.getsampwidth()
            if num_bytes > path.stat().st_size:  # written to a pipe: the header holds the largest number
                return None
            return reader.getnframes() / reader.getframerate()
    except (OSError, EOFError, ZeroDivisionError, wave.Error):
        return None


def _soundfile_seconds(path: Path) -> float | None:
    try:
        import soundfile
    except (ImportError, OSError):  # a client machine without it, or without its library
        return None
    try:
        with soundfile.SoundFile(str(path)) as file:
            return float(len(file) / file.samplerate)
    except (RuntimeError, OSError, ZeroDivisionError):
        return None


def _av_seconds(path: Path) -> float | None:
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path)) as container:
            return None if container.duration is None else container.duration / 1_000_000  # AV_TIME_BASE
    except (av.FFmpegError, OSError, ValueError):
        return None
