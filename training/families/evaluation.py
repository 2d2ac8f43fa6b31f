"""Word and character error rates of exported folders by unmodified sherpa-onnx, on held-out sentences."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import sherpa_onnx
from jiwer import cer, wer
from tqdm import tqdm

from training.corpus import Corpus
from training.evaluate import Clip, clips, normalised
from training.families.to_onnx import HOURS, MINUTES
from training.speech import SAMPLE_RATE
from training.synthesis import synthesise

SEED = 1
LANGUAGES = ("en", "hi")
FEED = SAMPLE_RATE // 10  # a stream gets 100 ms at a time
TAIL = np.zeros(SAMPLE_RATE, np.float32)  # pushes the last chunk through
LIMITS = {"ctc": 8.0, "transducer": 12.0}  # per cent of the words
TITLES = {"ctc": "CTC", "transducer": "transducer", "en": "English", "hi": "Hindi"}
MODEL_FILES = {"ctc": "model.onnx", "transducer": "encoder.onnx"}
BEGIN, END = "<!-- figures: begin, written by evaluation.py -->", "<!-- figures: end -->"
HEAD = """\
| model | language | clips | WER | CER | target | met | processor s per s |
|---|---|---|---:|---:|---|---|---:|"""


def offline(folder: Path, threads: int) -> sherpa_onnx.OfflineRecognizer:
    """The CTC of a folder."""
    return sherpa_onnx.OfflineRecognizer.from_nemo_ctc(
        model=str(folder / "model.onnx"), tokens=str(folder / "tokens.txt"), num_threads=threads
    )


def online(folder: Path, threads: int) -> sherpa_onnx.OnlineRecognizer:
    """The streaming transducer of a folder."""
    names = {name: str(folder / f"{name}.onnx") for name in ("encoder", "decoder", "joiner")}
    return sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=str(folder / "tokens.txt"), num_threads=threads, **names
    )


def whole(recognizer: sherpa_onnx.OfflineRecognizer, wanted: Sequence[Clip]) -> Iterator[str]:
    """Transcripts of whole clips, one at a time."""
    for clip in wanted:
        stream = recognizer.create_stream()
        stream.accept_waveform(SAMPLE_RATE, clip.samples)
        recognizer.decode_stream(stream)
        yield stream.result.text


def streamed(recognizer: sherpa_onnx.OnlineRecognizer, wanted: Sequence[Clip]) -> Iterator[str]:
    """Transcripts of clips fed in small pieces, as a live stream comes."""
    for clip in wanted:
        stream = recognizer.create_stream()
        samples = np.concatenate([clip.samples, TAIL])
        for start in range(0, len(samples), FEED):
            stream.accept_waveform(SAMPLE_RATE, samples[start : start + FEED])
            while recognizer.is_ready(stream):
                recognizer.decode_stream(stream)
        yield recognizer.get_result(stream)


def rates(folder: Path, family: str, corpus: Corpus, scale: float, threads: int) -> list[dict]:
    """One row for each language and kind of clip: one sentence, and six with pauses between."""
    rows = []
    recognizer = offline(folder, threads) if family == "ctc" else online(folder, threads)
    decode = whole if family == "ctc" else streamed
    for language in LANGUAGES:
        for title, count, per_clip in (("short", 400, 1), ("dense", 60, 6)):
            wanted = clips(corpus, language, max(4, round(scale * count)), per_clip, SEED)
            began = time.process_time()
            bar = tqdm(decode(recognizer, wanted), desc=f"{family} {title} {language}", total=len(wanted))
            written = [normalised(text) for text in bar]
            seconds = sum(len(clip.samples) for clip in wanted) / SAMPLE_RATE
            spoken = [normalised(clip.reference) for clip in wanted]
            rows.append(
                {
                    "family": family, "language": language, "clips": title, "count": len(wanted),
                    "wer": 100 * wer(spoken, written), "cer": 100 * cer(spoken, written),
                    "cpu_s_per_audio_s": (time.process_time() - began) / seconds,
                    "examples": list(zip(spoken[:5], written[:5], strict=True)),
                }
            )  # fmt: skip
    return rows


def training_line(folder: Path, family: str) -> str:
    """How long the model of a folder was trained, as its export says."""
    model = onnx.load(folder / MODEL_FILES[family])
    said = {entry.key: entry.value for entry in model.metadata_props}
    return (
        f"- {TITLES[family]}: {said.get(MINUTES, '?')} processor minutes, in which it heard "
        f"{said.get(HOURS, '?')} hours of sound"
    )


def table(rows: Sequence[dict]) -> str:
    """The rows in Markdown; targets are for single sentences."""
    lines = [HEAD]
    for row in rows:
        limit = LIMITS[row["family"]]
        verdict = " | "
        if row["clips"] == "short":
            verdict = f"≤ {limit:g} % | {'yes' if row['wer'] <= limit else '**no**'}"
        lines.append(
            f"| {TITLES[row['family']]} | {TITLES[row['language']]} | {row['count']} {row['clips']} "
            f"| {row['wer']:.1f} % | {row['cer']:.1f} % | {verdict} | {row['cpu_s_per_audio_s']:.3f} |"
        )
    return "\n".join(lines)


def put_into(card: Path, figures: str) -> None:
    """Puts the figures in the place of those that stand between the marks."""
    before, _, rest = card.read_text("utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{card} has no lines {BEGIN} and {END}")
    card.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ctc", type=Path, help="folder of the CTC")
    parser.add_argument("--transducer", type=Path, help="folder of the streaming transducer")
    parser.add_argument("--data", type=Path, default=Path("training/runs/speech/test"))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the test set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the rows there too")
    parser.add_argument("--card", type=Path, help="put the figures into this file")
    given = parser.parse_args()
    if not list(given.data.glob("*.json")):
        synthesise(given.data, 1, SEED, is_test=True)
    corpus, rows, trained = Corpus(given.data), [], []
    for family in LIMITS:
        if (folder := getattr(given, family)) is not None:
            rows += rates(folder, family, corpus, given.scale, given.threads)
            trained.append(training_line(folder, family))
    figures = "\n".join([*trained, "", table(rows)])
    print(figures)
    if given.card:
        put_into(given.card, figures)
    if given.json:
        given.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", "utf-8")
    short = [row for row in rows if row["clips"] == "short"]
    return 0 if all(row["wer"] <= LIMITS[row["family"]] for row in short) else 1


if __name__ == "__main__":
    sys.exit(main())
