"""Audio files on this machine: which they are, how long, and their samples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from whisper_client.errors import BadArgument

AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".mpga", ".ogg", ".oga", ".opus"),
    *(".m4a", ".aac", ".amr", ".wma", ".aiff"),
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
    """The length that the file's header states, None where it states none."""
    try:
        return float(soundfile.info(path).duration) or None
    except soundfile.LibsndfileError:
        pass  # m4a, videos and others that libsndfile does not read
    try:
        with av.open(path) as container:
            return None if container.duration is None else container.duration / av.time_base
    except (av.FFmpegError, OSError, ValueError):
        return None


def read_samples(file: Path, rate: int) -> NDArray[np.float32]:
    """The sound of a file, float32 [n] in [-1, 1], mono at `rate` Hz; raises BadArgument."""
    import librosa  # a second, which programs that only send files do not need

    try:
        samples, own_rate = soundfile.read(file, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return _av_samples(file, rate)
    mono: NDArray[np.float32] = librosa.resample(samples.mean(axis=1), orig_sr=own_rate, target_sr=rate)
    return mono


def _av_samples(file: Path, rate: int) -> NDArray[np.float32]:
    try:
        with av.open(file) as container:
            resampler = av.AudioResampler("flt", "mono", rate)
            frames = [*container.decode(audio=0), None]
            pieces = [part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)]
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise BadArgument(f"cannot read sound from {file}: {error}") from error
    return np.concatenate([np.zeros(0, np.float32), *pieces])
