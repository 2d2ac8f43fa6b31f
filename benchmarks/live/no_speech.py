#!/usr/bin/env python3
"""Sends silence, noise and music as streams, faster than real time: no word may come, and memory stays.

MANIFEST as for accuracy.py; its recordings without text are the noise and the music.

    python benchmarks/live/no_speech.py clips/manifest.jsonl --model whisper-models/tiny.en
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

from benchmarks.live.serving import rss_mib, serving  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from whisper_client.command_line import positive_count, run  # noqa: E402
from whisper_client.live_sound import file_chunks, rechunked  # noqa: E402
from whisper_client.live_stream import LiveStream, session_of  # noqa: E402
from whisper_client.live_turns import Event  # noqa: E402
from whisper_client.realtime import realtime_url  # noqa: E402
from whisper_client.references import read_references  # noqa: E402
from whisper_client.tape import RATE  # noqa: E402

SYNTHETIC_S = 60
TIMEOUT_S = 120.0
AT_ONCE = 2  # streams


def sounds(manifest: Path) -> dict[str, bytes]:
    """16-bit PCM at 24 kHz by name."""
    found = {
        one.audio.stem[:40]: b"".join(file_chunks(one.audio))
        for one in read_references(manifest)
        if not one.text
    }
    noise = np.random.default_rng(1).normal(0, 300, SYNTHETIC_S * RATE).astype("<i2")
    return found | {"digital silence": bytes(2 * SYNTHETIC_S * RATE), "white noise": noise.tobytes()}


def heard(url: str, pcm: bytes) -> str:
    """All text that comes, deltas too; the language is not given, so that it is detected."""
    texts: list[str] = []
    stream = LiveStream(realtime_url(url), None, session_of(), timeout_s=TIMEOUT_S)

    def take(event: Event) -> None:
        texts.append(event.get("delta") or event.get("transcript") or "")

    stream.run(rechunked([pcm]), take)
    return " ".join(filter(None, texts))


def main(argv: Sequence[str] | None = None) -> int:
    given = parser().parse_args(argv)
    found = conditions()
    sent = sounds(given.manifest)
    minutes = sum(map(len, sent.values())) / (2 * RATE * 60)
    said: dict[str, set[str]] = {name: set() for name in sent}
    with tempfile.TemporaryDirectory() as folder, serving(given.model, Path(folder), {}) as (server, gateway):
        for number in range(given.rounds):
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for name, text in zip(
                    sent, pool.map(lambda one: heard(gateway.url, one), sent.values()), strict=True
                ):
                    said[name].add(text)
            workers = sum(rss_mib(pid) for pid in server.worker_pids())
            print(
                f"round {number + 1}, {minutes:.1f} minutes of sound: "
                f"gateway {rss_mib(gateway.process.pid):.0f} MiB, workers {workers:.0f} MiB"
            )
    for name, texts in said.items():
        print(f"{name:<42}{sorted(texts)}")
    print(conditions_text(found))
    return 1 if any(texts != {""} for texts in said.values()) else 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("manifest", type=Path)
    made.add_argument("--model", type=Path, required=True, help="checkpoint, a file or a folder")
    made.add_argument("--rounds", type=positive_count, default=3, help="of the same sounds")
    return made


if __name__ == "__main__":
    sys.exit(run(main))
