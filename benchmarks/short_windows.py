#!/usr/bin/env python3
"""Compares the texts of short windows and of 30 s: the gate before `engine.full_windows` may be false.

MANIFEST as for accuracy.py. Recordings of one language are joined at random, with pauses, to lengths of 2 s
to --longest, until there are --words words; each joined recording is decoded both ways, guards and fallback
included.
Answers are kept in --work: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from asr.audio import media  # noqa: E402
from asr.audio.prepare import prepared_from  # noqa: E402
from asr.config import EngineConfig, Limits  # noqa: E402
from asr.constants import SAMPLE_RATE  # noqa: E402
from asr.engine import Engine  # noqa: E402
from asr.engines.loading import load_engine  # noqa: E402
from asr.request.options import RequestOptions  # noqa: E402
from asr.schema import Audio  # noqa: E402
from asr.sessions import open_session  # noqa: E402
from asr.sessions.driver import drive  # noqa: E402
from benchmarks import report  # noqa: E402
from benchmarks.machine import conditions  # noqa: E402
from benchmarks.wer.intervals import error_rate, rate_difference  # noqa: E402
from benchmarks.wer.normalisers import normaliser_for  # noqa: E402
from whisper_client.command_line import make_parser, positive_count, positive_number, run  # noqa: E402
from whisper_client.references import Reference, read_references  # noqa: E402
from whisper_client.scoring import score  # noqa: E402

MIN_S = 2.0
PAUSES_S = (0.3, 1.2)
SEED = 1
TOGETHER = 8  # joined recordings that share batches
RUNAWAY = 1.6  # times the words of the other way, and at least RUNAWAY_WORDS more
RUNAWAY_WORDS = 8
EXAMPLES = """\
  python benchmarks/short_windows.py MANIFEST --model whisper-models/tiny.en --words en=24000 --longest 11
  python benchmarks/short_windows.py MANIFEST --model whisper-models/base --words de=5000"""


@dataclass(frozen=True, slots=True)
class Joined:
    """Recordings one after the other."""

    name: str
    language: str
    parts: tuple[Reference, ...]
    pauses_s: tuple[float, ...]  # behind each part

    @property
    def text(self) -> str:
        return " ".join(part.text for part in self.parts)

    def audio(self) -> Audio:
        pieces = []
        for part, pause_s in zip(self.parts, self.pauses_s, strict=True):
            pieces += [audio_of(part.audio).samples, np.zeros(round(pause_s * SAMPLE_RATE), np.int16)]
        return replace(audio_of(self.parts[0].audio), samples=np.concatenate(pieces))


@cache
def audio_of(path: Path) -> Audio:
    return media.decode(path.read_bytes(), Limits())


def joined(
    references: Sequence[Reference], language: str, num_words: int, longest_s: float
) -> Iterator[Joined]:
    """Joined recordings until their texts have `num_words` words, the same ones in every run."""
    chance = random.Random(SEED)
    fitting = [
        one for one in references if one.language == language and one.text and (one.seconds or 99) < longest_s
    ]
    words = number = 0
    while words < num_words:
        target_s = chance.uniform(MIN_S, longest_s)
        parts: list[Reference] = []
        pauses: list[float] = []
        length_s = 0.0
        for one in chance.sample(fitting, len(fitting)):
            pause_s = chance.uniform(*PAUSES_S)
            if length_s + (one.seconds or 0) + pause_s <= max(target_s, MIN_S + 1):
                parts.append(one)
                pauses.append(pause_s)
                length_s += (one.seconds or 0) + pause_s
        if parts:
            found = Joined(f"{language}-{number}", language, tuple(parts), tuple(pauses))
            words += len(found.text.split())
            number += 1
            yield found


def transcribed(engine: Engine, recordings: Sequence[Joined], *, is_short: bool) -> tuple[list[str], float]:
    """The texts, and processor seconds for all of them."""
    options = RequestOptions()
    spec = replace(engine.spec, short_windows=is_short)
    sessions = [
        open_session(prepared_from(one.audio(), options, spec.n_mels), options, spec) for one in recordings
    ]
    begun = time.process_time()
    drive(engine, sessions)
    took = time.process_time() - begun
    if errors := [session.error for session in sessions if session.error]:
        raise errors[0]
    return [session.transcript().text for session in sessions], took


def answers(engine: Engine, recordings: Sequence[Joined], kept: Path) -> list[dict[str, Any]]:
    """One answer for each recording, those of an earlier run included."""
    done = [json.loads(line) for line in kept.read_text("utf-8").splitlines()] if kept.exists() else []
    have = {one["name"] for one in done}
    missing = [one for one in recordings if one.name not in have]
    with kept.open("a", encoding="utf-8") as file, tqdm(total=len(missing), unit="recording") as bar:
        for first in range(0, len(missing), TOGETHER):
            part = missing[first : first + TOGETHER]
            (full, full_s), (short, short_s) = (
                transcribed(engine, part, is_short=is_short) for is_short in (False, True)
            )
            for one, long_text, short_text in zip(part, full, short, strict=True):
                answer = {"name": one.name, "language": one.language, "reference": one.text}
                answer |= {"full": long_text, "short": short_text}
                answer |= {"full_s": full_s / len(part), "short_s": short_s / len(part)}
                file.write(json.dumps(answer, ensure_ascii=False) + "\n")
                done.append(answer)
            file.flush()
            bar.update(len(part))
    return done


def row(language: str, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Words, error rates of both ways, their difference with its interval, runaways, and the gain."""
    normaliser = normaliser_for(language)
    scores = {
        way: [score(one["reference"], one[way], normaliser).words for one in found]
        for way in ("full", "short")
    }
    wrong = {way: [one.wrong for one in scores[way]] for way in scores}
    words = [one.reference for one in scores["full"]]
    lengths = [[len(normaliser(one[way]).split()) for way in ("full", "short")] for one in found]
    runaways = [
        one["name"]
        for one, (full, short) in zip(found, lengths, strict=True)
        if short > RUNAWAY * full and short >= full + RUNAWAY_WORDS
    ]
    difference = rate_difference(wrong["short"], wrong["full"], words)
    return {
        "language": language,
        "recordings": len(found),
        "words": sum(words),
        "full": error_rate(wrong["full"], words).value,
        "short": error_rate(wrong["short"], words).value,
        "points": difference.value,
        "interval": [difference.low, difference.high],
        "runaways": runaways,
        "gain": sum(one["full_s"] for one in found) / sum(one["short_s"] for one in found),
    }


def main(argv: Sequence[str] | None = None) -> int:
    given = parser().parse_args(argv)
    references = read_references(given.manifest)
    wanted = {language: int(words) for language, words in (each.split("=") for each in given.words)}
    recordings = [
        one
        for language, words in wanted.items()
        for one in joined(references, language, words, given.longest)
    ]
    config = EngineConfig(model=str(given.model), device="cpu", backend=given.backend, threads=given.threads)
    engine = load_engine(config)
    found = conditions() | {"runs_on": engine.description}
    given.work.mkdir(parents=True, exist_ok=True)
    kept = answers(
        engine, recordings, given.work / f"{given.model.name}-{given.backend}-{given.longest:g}s.jsonl"
    )
    rows = [row(each, [one for one in kept if one["language"] == each]) for each in wanted]
    report.save(f"short-windows-{given.model.name}", {"conditions": found, "rows": rows})
    headers = ("language", "words", "30 s", "short", "points", "95 %", "runaways", "processor time saved")
    print(report.table(headers, map(_cells, rows)))
    return 0


def _cells(one: dict[str, Any]) -> list[object]:
    low, high = one["interval"]
    rates = [f"{one[key]:.2f}" for key in ("full", "short")]
    numbers = [f"{one['points']:+.2f}", f"{low:+.2f} to {high:+.2f}", len(one["runaways"])]
    return [one["language"], one["words"], *rates, *numbers, f"{one['gain']:.2f} ×"]


def parser() -> argparse.ArgumentParser:
    made = make_parser(__doc__ or "", EXAMPLES)
    made.add_argument("manifest", type=Path)
    made.add_argument("--model", type=Path, required=True, help="checkpoint, OpenAI's format")
    made.add_argument("--words", nargs="+", default=["en=24000"], metavar="LANGUAGE=N")
    made.add_argument("--longest", type=positive_number, default=25.0, metavar="S", help="seconds")
    made.add_argument("--backend", default="auto", choices=["auto", "torch", "onnxruntime", "ctranslate2"])
    made.add_argument("--threads", type=positive_count, default=2)
    made.add_argument("--work", type=Path, default=ROOT / "tmp" / "short-windows")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
