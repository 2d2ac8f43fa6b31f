#!/usr/bin/env python3
"""Makes the synthesised clips of this folder with their reference texts; needs espeak-ng and flite.

`--check` only compares them with the transcripts of a checkpoint, through upstream code.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import librosa
import numpy as np
import soundfile

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent)]

from asr.audio.media import decode  # noqa: E402
from asr.config import Limits  # noqa: E402
from training.augment import coloured_noise  # noqa: E402
from training.speech import SAMPLE_RATE  # noqa: E402
from training.text import sentences, written  # noqa: E402
from training.voices import Voice  # noqa: E402

HARVARD = range(78, 84)  # rows of vocabulary/sentences_en.txt
EMMA = range(84, 89)
RESERVED = (29, 36, 66, 67, 75, 80)  # kept from training; `harvard.wav` has one of them
LONG = tuple(row for row in range(89) if row not in RESERVED)
SLT = Voice("flite", "slt", 0.92, 50, 1.0)
ENGLISH = Voice("espeak-ng", "en-us+m3", 170, 50, 1.0)
BRITISH = Voice("espeak-ng", "en-gb-x-rp+f2", 170, 50, 1.0)
HINDI = Voice("espeak-ng", "hi", 165, 50, 1.0)
NUMBERS = (
    "zero one two three four five six seven eight nine",
    "nine eight seven six five four three two one zero",
)
GARDEN = (
    "the happy farmer carried the basket across the garden",
    "the teacher opened the window quietly",
    "seven children visited the museum",
    "a cup of sugar makes sweet fudge",
)
HINDI_LINES = ("यह किताब बहुत सुंदर है", "वह लड़का पानी पीता है", "आज बाज़ार में मीठा आम है", "एक दो तीन चार पाँच")


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip: its lines, who says them, and the file it becomes."""

    name: str
    lines: tuple[str, ...]
    language: str
    voice: Voice
    codec: str
    rate: int
    channels: int = 1
    bit_rate: int | None = None
    pauses_s: tuple[float, ...] = (0.6,)  # in turn, between the lines

    @property
    def stem(self) -> str:
        return self.name.split(".")[0]


def fixed(rows: Iterable[int]) -> tuple[str, ...]:
    """Training sentences by row."""
    return tuple(" ".join(sentences("en")[row]) for row in rows)


SAMPLES = (
    Sample("harvard.wav", fixed(HARVARD), "en", ENGLISH, "pcm_s16le", 44_100, 2),
    Sample("emma.mp3", fixed(EMMA), "en", BRITISH, "libmp3lame", 24_000, 1, 48_000),
    Sample("digits.flac", NUMBERS, "en", BRITISH, "flac", 8_000),
    Sample("hindi.opus", HINDI_LINES, "hi", HINDI, "libopus", 48_000, 1, 32_000),
    Sample("garden.m4a", GARDEN, "en", SLT, "aac", 22_050, 2, 64_000),
    Sample(
        "long.mp3", fixed(LONG[:57]), "en", ENGLISH, "libmp3lame", 16_000, 1, 32_000,
        (2.0, 3.5, 2.5, 6.0, 3.0, 1.5),
    ),
)  # fmt: skip
WORDLESS = ("silence.wav", "noise.flac")


def spoken(sample: Sample) -> np.ndarray:
    """float32 [n] at 16 kHz."""

    def pause(seconds: float) -> np.ndarray:
        return np.zeros(round(seconds * SAMPLE_RATE), np.float32)

    pieces = [pause(0.4)]
    for row, line in enumerate(sample.lines):
        speech = sample.voice.speak(line.split())
        pieces.append(speech.samples * (0.5 / np.abs(speech.samples).max()))
        pieces.append(pause(sample.pauses_s[row % len(sample.pauses_s)]))
    return np.concatenate(pieces)


def write_audio(
    path: Path, samples: np.ndarray, codec: str, rate: int, channels: int, bit_rate: int | None
) -> None:
    """Encodes float32 [n] at 16 kHz as `codec` at `rate`, the same signal in every channel."""
    layout = "stereo" if channels == 2 else "mono"
    resampled = librosa.resample(samples, orig_sr=SAMPLE_RATE, target_sr=rate)
    pcm = np.round(np.clip(resampled, -1, 1) * 32767).astype(np.int16)
    if codec in ("pcm_s16le", "flac"):
        soundfile.write(path, np.repeat(pcm[:, None], channels, axis=1), rate)
        return
    with av.open(str(path), "w", format={".m4a": "ipod", ".opus": "ogg"}.get(path.suffix)) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.repeat(pcm, channels)[None], format="s16", layout=layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        resampler = av.AudioResampler(stream.format.name, layout, rate, stream.frame_size or 1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def make(sample: Sample) -> None:
    """The clip and its reference."""
    write_audio(
        FOLDER / sample.name, spoken(sample), sample.codec, sample.rate, sample.channels, sample.bit_rate
    )
    lines = [" ".join(written(line.split(), sample.language)) for line in sample.lines]
    (FOLDER / f"{sample.stem}.txt").write_text("\n".join(lines) + "\n", "utf-8")


def make_wordless() -> None:
    """Ten seconds of digital silence and of pink noise; their references are empty."""
    noise = 0.05 * coloured_noise(1, 10 * SAMPLE_RATE, "pink")
    write_audio(FOLDER / "silence.wav", np.zeros(10 * SAMPLE_RATE), "pcm_s16le", 8_000, 1, None)
    write_audio(FOLDER / "noise.flac", noise, "flac", 16_000, 1, None)
    for name in WORDLESS:
        (FOLDER / name).with_suffix(".txt").write_text("")


def heard(model: Any, clip: Path) -> str:
    """Upstream's transcript of a file; decoded by us, for upstream calls a program that may not be there."""
    import whisper

    samples = decode(clip.read_bytes(), Limits()).samples.astype(np.float32) / 32_768
    return str(whisper.transcribe(model, samples, fp16=False)["text"])


def check(model_path: Path) -> int:
    """Prints each clip whose transcript differs from its reference; the number of such clips."""
    import whisper

    from training.evaluate import normalised

    model, wrong = whisper.load_model(str(model_path), "cpu"), 0
    for name in (*(sample.name for sample in SAMPLES), *WORDLESS):
        clip = FOLDER / name
        text = heard(model, clip)
        if normalised(text) != normalised(clip.with_suffix(".txt").read_text("utf-8")):
            wrong += 1
            print(f"{clip.name}: wrong\n  {normalised(text)}")
        else:
            print(f"{clip.name}: right")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", type=Path, metavar="MODEL", help="compare, make nothing")
    given = parser.parse_args()
    if given.check:
        return min(check(given.check), 1)
    random.seed(0)
    for sample in SAMPLES:
        make(sample)
    make_wordless()
    total = sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file())
    print(f"{total / 1e6:.2f} MB in {FOLDER.name}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
