"""A mix of clip lengths: "3s:0.7,30s:0.2,talk.mp3:0.1" → clips with weights, lengths cut from files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from load_kit.load import Clip
from whisper_client.audio_files import audio_seconds, find_audio, read_samples
from whisper_client.errors import BadArgument

RATE = 16_000
VARIANTS = 4  # clips of each length, from different places, so that no cache can answer
LENGTH = re.compile(r"(\d+(?:\.\d+)?)s")


@dataclass(frozen=True, slots=True)
class Part:
    """One share of a mix: a length to cut, or a file as it is."""

    name: str
    weight: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Mix:
    """Clips and how often each is drawn, relative to the others."""

    clips: list[Clip]
    weights: list[float]


def parse_mix(text: str) -> list[Part]:
    """The parts of a mix; raises BadArgument."""
    parts = []
    for entry in text.split(","):
        name, _, weight_text = entry.strip().rpartition(":")
        length = LENGTH.fullmatch(name)
        try:
            part = Part(name, float(weight_text), float(length[1]) if length else None)
        except ValueError:
            part = Part("", 0, None)
        if not part.name or not 0 < part.weight < float("inf") or part.seconds == 0:
            raise BadArgument(f"{entry!r} is no share of a mix: write 3s:0.7,30s:0.2 or talk.mp3:0.1")
        parts.append(part)
    return parts


@contextmanager
def find_clips(paths: Sequence[str], mix: str | None) -> Iterator[Mix]:
    """The files as they are, else those of a mix, cut into a temporary folder; raises BadArgument."""
    if not mix:
        clips = [Clip(path, audio_seconds(path)) for path in find_audio(paths)]
        yield Mix(clips, [1.0] * len(clips))
        return
    parts = parse_mix(mix)
    files = find_audio(paths) if paths or any(part.seconds for part in parts) else []
    with tempfile.TemporaryDirectory(prefix="whisper-mix-") as folder:
        yield make_mix(parts, files, Path(folder))


def make_mix(parts: Sequence[Part], files: Sequence[Path], folder: Path) -> Mix:
    """The clips of a mix; lengths are cut from `files`, end to end and round again, into `folder`."""
    mix = Mix([], [])
    longest = max((part.seconds or 0 for part in parts), default=0)
    samples = decode(files, longest * VARIANTS) if longest else None
    for part in parts:
        if part.seconds is None:
            if not Path(part.name).is_file():
                raise BadArgument(f"no file {part.name} (a length ends in s: 30s)")
            clips = [Clip(Path(part.name), audio_seconds(Path(part.name)), Path(part.name).name)]
        else:
            assert samples is not None
            clips = [_cut(samples, part, number, folder) for number in range(VARIANTS)]
        mix.clips.extend(clips)
        mix.weights.extend([part.weight / len(clips)] * len(clips))
    return mix


def _cut(samples: NDArray[np.int16], part: Part, number: int, folder: Path) -> Clip:
    assert part.seconds is not None
    count = round(part.seconds * RATE)
    first = number * len(samples) // VARIANTS
    wanted = samples.take(np.arange(first, first + count), mode="wrap")
    return Clip(write_wav(folder / f"{part.name}-{number + 1}.wav", wanted), part.seconds, part.name)


def silence(path: Path, seconds: float) -> Path:
    """A WAV file of zeros."""
    return write_wav(path, np.zeros(round(seconds * RATE), np.int16))


def write_wav(path: Path, samples: NDArray[np.int16]) -> Path:
    """Mono samples at 16 kHz as a WAV file."""
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


def decode(files: Sequence[Path], enough_s: float) -> NDArray[np.int16]:
    """The files' samples end to end, int16 mono at 16 kHz [samples]; stops after `enough_s` seconds."""
    pieces: list[NDArray[np.float32]] = []
    for file in files:
        pieces.append(read_samples(file, RATE))
        if sum(map(len, pieces)) >= enough_s * RATE:
            break
    samples = np.concatenate([np.zeros(0, np.float32), *pieces])
    if not len(samples):
        raise BadArgument("--mix needs files that hold sound, to cut its clips from")
    return np.clip(np.round(samples * 32_768), -32_768, 32_767).astype(np.int16)
