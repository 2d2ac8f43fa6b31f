#!/usr/bin/env python3
"""Draws a recording with the transcript in its place: waveform, segments and words, as PNG or SVG.

  python clients/draw_transcript.py samples/jfk.flac --out jfk.png
  python clients/draw_transcript.py talk.mp3 --url http://127.0.0.1:8080/predictions/whisper --out talk.svg

Needs matplotlib (pip install matplotlib==3.11.2), which the other clients do not.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from whisper_client.client import DEFAULT_URL, WhisperClient
from whisper_client.errors import ClientError

RATE = 4_000  # Hz: enough for an outline
ENVELOPE_POINTS = 2_000
SEGMENT_COLORS = ("#4477aa", "#aa7744")


def outline(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds and the loudest sample around each, both float64 [points], the loudest of all being 1."""
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(io.BytesIO(data)) as container:
        parts = [
            part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)
        ]
    samples = np.abs(np.concatenate(parts).astype(np.float64))
    step = max(1, len(samples) // ENVELOPE_POINTS)
    loudest = samples[: len(samples) // step * step].reshape(-1, step).max(axis=1)
    return np.arange(len(loudest)) * step / RATE, loudest / max(1.0, loudest.max())


def draw(data: bytes, transcript: dict[str, Any], out: Path) -> None:
    """Writes the picture of a verbose_json transcript with words over its recording."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    seconds, loudness = outline(data)
    figure, axes = pyplot.subplots(figsize=(14, 3.6), layout="constrained")
    axes.fill_between(seconds, -loudness, loudness, color="#bbbbbb", linewidth=0)
    for i, segment in enumerate(transcript["segments"]):
        color = SEGMENT_COLORS[i % len(SEGMENT_COLORS)]
        axes.axvspan(segment["start"], segment["end"], color=color, alpha=0.18, linewidth=0)
        axes.text(segment["start"], 1.12, segment["text"].strip(), color=color, fontsize=8)
    for i, word in enumerate(transcript["words"]):
        axes.axvline(word["start"], color="#333333", linewidth=0.4)
        axes.text(word["start"], -1.12 - 0.14 * (i % 3), word["word"], fontsize=6.5)
    axes.set(xlim=(0, float(transcript["duration"])), ylim=(-1.55, 1.3), yticks=[], xlabel="seconds")
    figure.savefig(out, dpi=130)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a .png or .svg file")
    parser.add_argument("--url", default=DEFAULT_URL)
    parser.add_argument("--language")
    given = parser.parse_args()
    options = {"response_format": "verbose_json", "timestamp_granularities": ["segment", "word"]}
    if given.language:
        options["language"] = given.language
    try:
        data = given.file.read_bytes()
        reply = WhisperClient(given.url).transcribe(given.file, **options).raise_for_status()
    except (OSError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    draw(data, reply.document or {}, given.out)
    print(f"{given.out}: {len((reply.document or {})['words'])} words", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
