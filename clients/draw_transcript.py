#!/usr/bin/env python3
"""Draws a recording with its transcript in place, as PNG or SVG: waveform, words, segments, log-Mel picture.

  python clients/draw_transcript.py samples/jfk.flac --out jfk.png
  python clients/draw_transcript.py talk.mp3 --url http://127.0.0.1:8080/predictions/whisper --out talk.svg

Needs matplotlib (pip install matplotlib==3.11.2), which the other clients do not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray

from whisper_client.audio_files import read_samples
from whisper_client.client import DEFAULT_URL, WhisperClient
from whisper_client.errors import ClientError

RATE, N_FFT, HOP_LENGTH, N_MELS = 16_000, 400, 160, 80  # what Whisper hears
SEGMENT_COLORS = ("#4477aa", "#aa7744")


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decibels below the loudest, float32 [N_MELS, frames of 10 ms]."""
    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
    )
    decibels: NDArray[np.float32] = librosa.power_to_db(power, ref=np.max)
    return decibels


def draw(samples: NDArray[np.float32], transcript: dict[str, Any], out: Path) -> None:
    """Writes the picture of a verbose_json transcript with words over its recording (samples at RATE)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (wave, mel) = pyplot.subplots(2, sharex=True, figsize=(14, 5.2), layout="constrained",
                                          height_ratios=(3, 2))  # fmt: skip
    librosa.display.waveshow(samples / max(1e-6, np.abs(samples).max()), sr=RATE, ax=wave, color="#bbbbbb")
    for i, segment in enumerate(transcript["segments"]):
        color = SEGMENT_COLORS[i % len(SEGMENT_COLORS)]
        wave.axvspan(segment["start"], segment["end"], color=color, alpha=0.18, linewidth=0)
        wave.text(segment["start"], 1.12, segment["text"].strip(), color=color, fontsize=8)
    for i, word in enumerate(transcript["words"]):
        wave.axvline(word["start"], color="#333333", linewidth=0.4)
        wave.text(word["start"], -1.12 - 0.14 * (i % 3), word["word"], fontsize=6.5)
    wave.set(ylim=(-1.55, 1.3), yticks=[], xlabel="")
    librosa.display.specshow(
        log_mel(samples), sr=RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, fmax=RATE / 2, x_axis="s",
        y_axis="mel", ax=mel, cmap="magma",
    )  # fmt: skip
    mel.set(xlim=(0, float(transcript["duration"])), xlabel="seconds", ylabel="Hz")
    figure.savefig(out, dpi=130)
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a .png or .svg file")
    parser.add_argument("--url", default=DEFAULT_URL)
    parser.add_argument("--language")
    given = parser.parse_args()
    client, granularities = WhisperClient(given.url), ["segment", "word"]
    try:
        samples = read_samples(given.file, RATE)
        reply = client.transcribe(
            given.file, response_format="verbose_json", timestamp_granularities=granularities,
            language=given.language,
        ).raise_for_status()  # fmt: skip
    except (OSError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    draw(samples, reply.document or {}, given.out)
    print(f"{given.out}: {len((reply.document or {})['words'])} words", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
