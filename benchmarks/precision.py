#!/usr/bin/env python3
"""Measures what a number format costs in words: WER of each precision through our engine, on the same clips.

The demo checkpoint and its held-out clips (benchmarks/demo_checkpoint.py); greedy, one try per clip. The data
is synthesised where it is missing (needs espeak-ng and flite).

    python benchmarks/precision.py --data training/runs/speech/test --scale 0.25
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from tqdm import tqdm  # noqa: E402

from asr.config import EngineConfig  # noqa: E402
from asr.constants import WINDOW_FRAMES, WINDOW_SAMPLES  # noqa: E402
from asr.engine import Engine  # noqa: E402
from asr.engines.loading import load_engine  # noqa: E402
from asr.schema import DecodingOptions, Hypothesis, Window  # noqa: E402
from asr.text.tokenizer import tokenizer_for  # noqa: E402
from benchmarks import report  # noqa: E402
from benchmarks.demo_checkpoint import SEED, word_errors  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from training.corpus import Corpus  # noqa: E402
from training.evaluate import Clip, clips  # noqa: E402

BATCH = 16
MAX_POINTS = 0.1  # what a precision may add to the WER of float32, in percentage points
# name → language, clips at scale 1, utterances in a clip, with timestamps
SETS = {
    "English, short": ("en", 400, 1, False),
    "English, dense": ("en", 60, 6, True),
    "Hindi, short": ("hi", 400, 1, False),
    "Hindi, dense": ("hi", 60, 6, True),
}


def window(clip: Clip, timestamps: bool) -> Window:
    """The clip as one window, padded with silence."""
    pcm = np.zeros(WINDOW_SAMPLES, np.int16)
    pcm[: len(clip.samples)] = np.round(clip.samples * 32_767).astype(np.int16)
    options = DecodingOptions(language=clip.language, without_timestamps=not timestamps)
    return Window(pcm, WINDOW_FRAMES, options)


def texts(engine: Engine, wanted: Sequence[Clip], timestamps: bool, name: str) -> list[str]:
    """What the engine writes about each clip."""
    tokenizer = tokenizer_for(engine.spec.multilingual, engine.spec.num_languages)
    found: list[str] = []
    for first in tqdm(range(0, len(wanted), BATCH), desc=name):
        for outcome in engine.decode([window(clip, timestamps) for clip in wanted[first : first + BATCH]]):
            if not isinstance(outcome, Hypothesis):
                raise RuntimeError(f"the engine failed: {outcome}")
            found.append(tokenizer.decode([t for t in outcome.tokens if t < tokenizer.timestamp_begin]))
    return found


def measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per set of clips: words, and for each precision the wrong ones, the texts and the seconds."""
    corpus = Corpus(given.data)
    sets = {
        name: (clips(corpus, language, max(2, round(given.scale * count)), per_clip, SEED), timestamps)
        for name, (language, count, per_clip, timestamps) in SETS.items()
    }
    rows: dict[str, dict[str, Any]] = {name: {"set": name, "clips": len(sets[name][0])} for name in sets}
    written: dict[tuple[str, str], list[str]] = {}
    for precision in given.precisions:
        config = EngineConfig(str(given.model), device="cpu", precision=precision, threads=given.threads)
        engine = load_engine(config)
        for name, (wanted, timestamps) in sets.items():
            begun = time.perf_counter()
            found = texts(engine, wanted, timestamps, f"{precision}: {name}")
            seconds = time.perf_counter() - begun
            written[name, precision] = found
            wrong, words = word_errors(wanted, found).sum(axis=0).tolist()
            different = sum(a != b for a, b in zip(found, written[name, given.precisions[0]], strict=True))
            rows[name]["words"] = words
            rows[name][precision] = {"wrong": wrong, "different": different, "seconds": seconds}
    return list(rows.values())


def section(data: dict[str, Any]) -> str:
    """The Markdown: WER by set and precision, and the difference over all words against the first one."""
    rows, (first, *others) = data["rows"], data["precisions"]
    total = {"set": "all", "clips": sum(row["clips"] for row in rows)}
    total["words"] = sum(row["words"] for row in rows)
    for name in data["precisions"]:
        total[name] = {key: sum(row[name][key] for row in rows) for key in ("wrong", "different", "seconds")}
    lines = []
    for row in [*rows, total]:
        rates = {name: 100 * row[name]["wrong"] / row["words"] for name in data["precisions"]}
        cells = [f"{rate:.2f} %" for rate in rates.values()]
        changes = [f"{rates[name] - rates[first]:+.2f}" for name in others]
        different = [str(row[name]["different"]) for name in others]
        lines.append([row["set"], row["clips"], row["words"], *cells, *changes, *different])
    headers = ["clips", "number", "words", *(f"WER, {name}" for name in data["precisions"])]
    headers += [f"{name}, points" for name in others] + [f"{name}, other texts" for name in others]
    change = {name: 100 * (total[name]["wrong"] - total[first]["wrong"]) / total["words"] for name in others}
    verdicts = [
        f"{name} adds {points:+.2f} points, at most {MAX_POINTS:g} may be: "
        + ("reached" if points <= MAX_POINTS else "**missed**")
        for name, points in change.items()
    ]
    return "\n\n".join(
        [
            "### Number formats and words",
            f"Demo checkpoint, held-out synthetic voices, greedy, batches of {BATCH}, through our engine. "
            + "; ".join(verdicts)
            + ".",
            report.table(headers, lines),
            conditions_text(data["conditions"]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "whisper-models" / "demo.pt")
    parser.add_argument("--data", type=Path, default=ROOT / "training" / "runs" / "speech" / "test")
    parser.add_argument("--scale", type=float, default=0.25, help="share of the test set")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    if not list(given.data.glob("*.json")):
        from training.synthesis import synthesise

        synthesise(given.data, 1, SEED, is_test=True)
    data: dict[str, Any] = {"conditions": conditions(), "precisions": given.precisions}
    data["rows"] = measure(given)
    report.hand_over("precision", data, section(data), publish_it=not given.no_publish)
    return 0


if __name__ == "__main__":
    sys.exit(main())
