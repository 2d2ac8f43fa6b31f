#!/usr/bin/env python3
"""Measures what the engine's own choices cost and bring, each against the same work without it.

Compaction on mixed lengths, deterministic mode, how often a window's tokens depend on its neighbours, speech
detection, and the guards on clean speech (the demo checkpoint and the samples, where both are there).

    python benchmarks/choices.py --size tiny --repetitions 3
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from tqdm import tqdm  # noqa: E402

from asr.audio.prepare import prepared_from  # noqa: E402
from asr.audio.vad import speech_probs  # noqa: E402
from asr.config import EngineConfig  # noqa: E402
from asr.constants import SAMPLE_RATE, WINDOW_FRAMES  # noqa: E402
from asr.engines.loading import load_engine  # noqa: E402
from asr.request.options import GuardOptions, RequestOptions  # noqa: E402
from asr.schema import Audio, DecodingOptions, Hypothesis, MediaSource, Samples, Window  # noqa: E402
from asr.sessions import open_session  # noqa: E402
from asr.sessions.driver import drive  # noqa: E402
from benchmarks import report, seeded  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.peers.engines import WINDOW_SECONDS  # noqa: E402

BATCH = 16
# Tokens of 16 windows as a server sees them: English speech of 30 s has about 100 tokens, windows at the end
# of a file fewer; Hindi has about 400.
ENGLISH_TOKENS = (100, 85, 95, 70, 90, 60, 25, 40, 100, 85, 95, 70, 90, 60, 25, 40)
MIXES = {"English": ENGLISH_TOKENS, "English and two of Hindi": (*ENGLISH_TOKENS[:14], 400, 400)}
NEIGHBOURS = (1, 2, 7, 15)
INVARIANCE_TOKENS = 32
UNGUARDED = GuardOptions(None, None, None)
ENGLISH = DecodingOptions(language="en")
DEMO = ROOT / "whisper-models" / "demo.pt"


def make_engine(path: Path, threads: int, **config: Any) -> Any:
    """A loaded engine without the loop guard, which would end forced rows early."""
    settings = {"device": "cpu", "threads": threads, "loop_guard": False, "max_batch_size": BATCH} | config
    return load_engine(EngineConfig(model=str(path), **settings))


def window(pcm: Samples, num_tokens: int) -> Window:
    return Window(pcm, WINDOW_FRAMES, DecodingOptions("transcribe", "en", max_tokens=num_tokens))


def timed(engine: Any, windows: Sequence[Window]) -> dict[str, float]:
    """Wall seconds, and those of the decode stage."""
    begun = time.perf_counter()
    found = engine.decode(windows)
    total = time.perf_counter() - begun
    assert all(isinstance(one, Hypothesis) for one in found), found
    return {"total": total, "decode": sum(one.seconds.decode for one in found)}


def compaction(path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of mixed batches with and without compaction, interleaved: precision, mix → runs of each."""
    found: dict[str, Any] = {}
    for precision in given.precisions:
        model = make_engine(path, given.threads, precision=precision)
        inner = model._model  # compaction is no option of the engine's: it is switched for this measurement
        for mix, tokens in MIXES.items():
            windows = [window(pcm, n) for pcm, n in zip(seeded.sounds(BATCH), tokens, strict=True)]
            model.decode(windows[:1])
            runs: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
            for _ in tqdm(range(given.repetitions), desc=f"compaction, {precision}, {mix}"):
                for kind, found_runs in runs.items():
                    inner._settings = dataclasses.replace(inner._settings, compaction=kind == "with")
                    found_runs.append(timed(model, windows))
            found[f"{precision}, {mix}"] = runs
    return found


def invariance(path: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """How many windows keep their tokens beside neighbours, and what deterministic mode costs."""
    rows = []
    windows = [window(pcm, INVARIANCE_TOKENS) for pcm in seeded.sounds(BATCH)]
    plans = [(precision, fixed) for fixed in (False, True) for precision in given.precisions]
    for precision, deterministic in tqdm(plans, desc="invariance"):
        engine = make_engine(path, given.threads, precision=precision, deterministic=deterministic)
        engine.decode(windows[:1])
        alone, alone_s = [], []
        for one in windows:
            begun = time.perf_counter()
            alone.append(engine.decode([one])[0].tokens)
            alone_s.append(time.perf_counter() - begun)
        same: dict[str, list[int]] = {}
        for neighbours in NEIGHBOURS:
            together = engine.decode(windows[: neighbours + 1])
            kept = [one.tokens == tokens for one, tokens in zip(together, alone, strict=False)]
            same[str(neighbours)] = [sum(kept), len(kept)]
        batch_s = [timed(engine, windows)["total"] for _ in range(given.repetitions)]
        rows.append({"precision": precision, "deterministic": deterministic, "same": same})
        rows[-1] |= {"batch_s": batch_s, "alone_s": alone_s}
    return rows


def detection_seconds(repetitions: int) -> list[float]:
    """Seconds of speech detection per second of audio, one thread, five minutes of sound."""
    pcm = np.concatenate(seeded.sounds(10))
    speech_probs(pcm[: 5 * SAMPLE_RATE])
    found = []
    for _ in range(max(3, repetitions)):
        begun = time.perf_counter()
        speech_probs(pcm)
        found.append((time.perf_counter() - begun) / (len(pcm) / SAMPLE_RATE))
    return found


def clean_speech() -> list[Audio]:
    """A batch of utterances of real English speech."""
    clips = [seeded.speech(seconds) for seconds in (28.0, 14.0, 21.0, 7.0)]
    audios = [Audio(pcm, MediaSource("wav", "pcm_s16le", SAMPLE_RATE, 1)) for pcm in clips]
    return (audios * BATCH)[:BATCH]


def guards(given: argparse.Namespace) -> dict[str, Any] | None:
    """Seconds of a batch of clean utterances with guards and speech detection on and off, interleaved."""
    if not DEMO.is_file():
        return None
    audios = clean_speech()
    engine = make_engine(DEMO, given.threads, precision="float32", loop_guard=True)
    kinds: dict[str, RequestOptions] = {
        "guards on, detection off": RequestOptions(ENGLISH, vad_filter=False),
        "guards off, detection off": RequestOptions(ENGLISH, (0.0,), UNGUARDED, vad_filter=False),
        "guards on, detection on": RequestOptions(ENGLISH),
    }
    runs: dict[str, list[float]] = {kind: [] for kind in kinds}
    windows: dict[str, int] = {}
    for _ in tqdm(range(given.repetitions + 1), desc="guards"):
        for kind, options in kinds.items():
            begun = time.perf_counter()
            prepared = [prepared_from(audio, options, engine.spec.n_mels) for audio in audios]
            sessions = [open_session(one, options, engine.spec) for one in prepared]
            drive(engine, sessions)
            runs[kind].append(time.perf_counter() - begun)
            windows[kind] = sum(session.transcript().stats.windows for session in sessions)
    audio_s = sum(audio.duration_s for audio in audios)
    return {"runs": {kind: found[1:] for kind, found in runs.items()}, "windows": windows, "audio_s": audio_s}


def section(data: dict[str, Any]) -> str:
    """The Markdown of all choices."""
    spread = report.Spread.of
    parts = ["### What the engine's choices cost and bring"]
    if runs := data.get("compaction"):
        lines = []
        for mix, kinds in runs.items():
            times = {
                (kind, key): spread(one[key] for one in found)
                for kind, found in kinds.items()
                for key in ("decode", "total")
            }
            lines.append([mix, *(times[kind, "decode"].text(2) for kind in ("without", "with"))])
            lines[-1] += [
                f"{times['without', key].median / times['with', key].median:.2f}×"
                for key in ("decode", "total")
            ]
        mixes = "; ".join(f"{name}: {', '.join(map(str, tokens))}" for name, tokens in MIXES.items())
        parts.append(
            f"**Compaction**, {data['size']} sizes, batches of {BATCH}; seconds of decoding the batch. "
            f"Tokens by window: {mixes}."
        )
        headers = ["", "without, s", "with, s", "decoding, faster by", "in all, faster by"]
        parts.append(report.table(headers, lines))
    if rows := data.get("invariance"):
        lines = [
            [
                row["precision"] + (", deterministic" if row["deterministic"] else ""),
                *(f"{kept} of {compared}" for kept, compared in row["same"].values()),
                spread(row["batch_s"]).text(2),
                spread(row["alone_s"]).text(2),
            ]
            for row in rows
        ]
        parts.append(
            f"**Batch invariance**: windows whose {INVARIANCE_TOKENS} tokens are the same beside so many "
            "neighbours as alone, and what fixed shapes cost. Random weights leave little between the "
            "best token and the next, so a trained model changes more rarely."
        )
        headers = ["", *(f"{number} beside" for number in NEIGHBOURS), "batch of 16, s", "one window, s"]
        parts.append(report.table(headers, lines))
    detection = spread(data["detection"])
    parts.append(
        f"**Speech detection** costs {detection.text(2, 1000)} ms per second of audio on one thread, "
        f"{1000 * WINDOW_SECONDS * detection.median:.0f} ms per 30 s window."
    )
    if found := data.get("guards"):
        lines = [
            [
                kind,
                spread(runs).text(2),
                f"{found['audio_s'] / spread(runs).median:.1f}",
                found["windows"][kind],
            ]
            for kind, runs in found["runs"].items()
        ]
        parts.append(f"**Guards** on {found['audio_s']:.0f} s of clean samples, demo checkpoint, float32.")
        parts.append(report.table(["", "seconds", "RTFx", "windows decoded"], lines))
    else:
        parts.append("**Guards**: not measured, there is no demo checkpoint.")
    return "\n\n".join([*parts, conditions_text(data["conditions"])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="tiny")
    names = ("compaction", "invariance", "guards")
    parser.add_argument("--parts", nargs="+", default=list(names), choices=list(names))
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"], help="not for the guards")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "whisper-benchmark")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    data: dict[str, Any] = {"conditions": conditions(), "size": given.size}
    path = seeded.checkpoint(given.size, given.checkpoints)
    steps: dict[str, Callable[[], Any]] = {
        "compaction": lambda: compaction(path, given),
        "invariance": lambda: invariance(path, given),
        "guards": lambda: guards(given),
    }
    for name in given.parts:
        data[name] = steps[name]()
    data["detection"] = detection_seconds(given.repetitions)
    report.hand_over("choices", data, section(data), publish_it=not given.no_publish)
    return 0


if __name__ == "__main__":
    sys.exit(main())
