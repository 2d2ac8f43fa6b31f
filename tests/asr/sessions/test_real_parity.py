"""`sequential` in float32 equals openai-whisper on human speech, with OpenAI's weights and what is shipped.

The README's sentence about exactness is this test.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper

from asr.request.options import RequestOptions
from asr.schema import Samples
from asr.sessions.sequential import SequentialSession
from tests.asr import real
from tests.asr.asked import asked
from tests.asr.real import SECOND, recording
from tests.weights import upstream_model

pytestmark = [pytest.mark.weights, pytest.mark.slow, pytest.mark.timeout(900)]

README = Path(__file__).resolve().parents[3] / "README.md"
PROMISE = (
    "with `long_form=sequential`, `engine.precision: float32` and 16 kHz mono input, the tokens, "
    "segments and times of text in Latin script are those of openai-whisper 20250625 with its defaults, "
    "alone and in any batch. Three things differ: a window sampled above temperature 0 draws other "
    "random numbers, times behind the end of the audio are at its end, and other scripts need "
    "`compression_unit=bytes`"
)
ENGLISH = ("jfk.flac", "librispeech.flac", "noisy.flac", "telephone.opus")


def cut(name: str, start_s: float, seconds: float) -> Callable[[], Samples]:
    return lambda: recording(name)[round(start_s * SECOND) : round((start_s + seconds) * SECOND)]


def joined(seconds: float, pause_s: float) -> Samples:
    """All English recordings one after the other, again and again."""
    pause = np.zeros(round(pause_s * SECOND), np.int16)
    parts = [part for name in ENGLISH for part in (recording(name), pause)]
    whole = np.concatenate(parts)
    return np.tile(whole, -(-round(seconds * SECOND) // len(whole)))[: round(seconds * SECOND)]


Case = tuple[Callable[[], Samples], dict[str, Any]]
WORDS = {"granularities": ("segment", "word")}

TINY_CASES: dict[str, Case] = {
    **{
        f"telephone {s} s": (cut("telephone.opus", 7.3 * k, s), {}) for k, s in enumerate((0.5, 1, 2, 3.7, 8))
    },
    **{f"jfk {s} s": (cut("jfk.flac", 0, s), {}) for s in (0.7, 2.4, 5, 11)},
    "librispeech": (cut("librispeech.flac", 0, 30), {}),
    "noisy": (cut("noisy.flac", 0, 30), {}),
    "noisy, from its middle": (cut("noisy.flac", 2.1, 30), {}),
    "29.9 s": (cut("telephone.opus", 1, 29.9), {}),
    "30.1 s": (cut("telephone.opus", 2, 30.1), {}),
    "a minute": (cut("telephone.opus", 0, 60), {}),
    "a minute, words": (cut("telephone.opus", 0, 60), WORDS),
    "words": (cut("jfk.flac", 0, 11), WORDS),
    "no conditioning": (cut("telephone.opus", 0, 60), {"condition_on_previous_text": False}),
    "prompt": (cut("telephone.opus", 20, 20), {"prompt": "Earnings call, first quarter."}),
    "two minutes": (lambda: joined(120, 1.3), {}),
}
BASE_CASES: dict[str, Case] = {
    "jfk": (cut("jfk.flac", 0, 11), {}),
    "librispeech": (cut("librispeech.flac", 0, 30), {}),
    "noisy": (cut("noisy.flac", 0, 30), {}),
    "telephone": (cut("telephone.opus", 0, 45), {}),
    "german": (cut("german.flac", 0, 30), {}),
    "german, told": (cut("german.flac", 0, 30), {"language": "de"}),
    "german, translated": (cut("german.flac", 0, 30), {"language": "de", "task": "translate"}),
    "spanish": (cut("spanish.ogg", 0, 30), {}),
    "spanish, words": (cut("spanish.ogg", 0, 30), WORDS),
    "common voice": (cut("six.mp3", 0, 30), {}),
    "three languages": (
        lambda: np.concatenate([recording(n) for n in ("german.flac", "jfk.flac", "spanish.ogg")]),
        {},
    ),
    "a minute and a half": (lambda: joined(90, 2.0), {}),
}
CASES = {("tiny.en", name): case for name, case in TINY_CASES.items()} | {
    ("base", name): case for name, case in BASE_CASES.items()
}


def request_of(key: tuple[str, str]) -> tuple[Samples, RequestOptions]:
    samples, options = CASES[key]
    return samples(), asked(long_form="sequential", **options)


@cache
def expected(key: tuple[str, str]) -> dict[str, Any]:
    samples, options = CASES[key]
    names = {"prompt": "initial_prompt"}
    told = {names.get(name, name): value for name, value in options.items() if name != "granularities"}
    told |= {"word_timestamps": True} if "granularities" in options else {}
    return real.reference_transcript(upstream_model(key[0]), samples(), **told)


def assert_equal(session: SequentialSession, want: dict[str, Any], num_samples: int) -> None:
    """Equal tokens, segments and times, up to the first window that both sample: their dice differ."""
    found = session.transcript()
    assert found.language == want["language"]
    end_s = num_samples / SECOND
    segments = [segment for segment in want["segments"] if segment["text"]]
    for got, segment in zip(found.segments, segments, strict=False):
        assert (got.seek, got.temperature > 0) == (segment["seek"], segment["temperature"] > 0)
        if segment["temperature"] > 0:
            return
        assert (list(got.tokens), got.text) == (segment["tokens"], segment["text"])
        times = [got.start, got.end, *(edge for word in got.words for edge in (word.start, word.end))]
        theirs = [segment["start"], segment["end"]]
        theirs += [word[edge] for word in segment.get("words", []) for edge in ("start", "end")]
        assert [time / SECOND for time in times] == pytest.approx(
            [min(time, end_s) for time in theirs], abs=1e-4
        )
        assert [word.text for word in got.words] == [word["word"] for word in segment.get("words", [])]
    assert len(found.segments) == len(segments)


def test_the_readme_promises_what_is_tested_here() -> None:
    assert PROMISE in " ".join(README.read_text("utf-8").split())
    assert whisper.__version__ == "20250625"


@pytest.mark.parametrize("key", CASES, ids=" ".join)
def test_alone(key: tuple[str, str]) -> None:
    request = request_of(key)
    [session] = real.transcribed(key[0], [request])
    assert isinstance(session, SequentialSession)
    assert_equal(session, expected(key), len(request[0]))


@pytest.mark.parametrize(
    ("name", "backend"), [("tiny.en", "torch"), ("tiny.en", "ctranslate2"), ("base", "onnxruntime")]
)
def test_in_mixed_batches(name: str, backend: str) -> None:
    if backend == "ctranslate2":
        pytest.importorskip(backend)
    keys = [key for key in CASES if key[0] == name]
    if backend != "torch":  # test_alone has the long ones
        keys = [key for key in keys if len(request_of(key)[0]) <= 30 * SECOND]
    requests = [request_of(key) for key in keys]
    found = real.transcribed(name, requests, backend)
    for key, request, session in zip(keys, requests, found, strict=True):
        assert isinstance(session, SequentialSession)
        try:
            assert_equal(session, expected(key), len(request[0]))
        except AssertionError as error:
            raise AssertionError(f"{key}: {error}") from error


@pytest.mark.parametrize(
    "key", [key for key in CASES if len(request_of(key)[0]) <= 30 * SECOND], ids=" ".join
)
def test_parallel_decodes_what_fits_one_window_as_openai_whisper_does(key: tuple[str, str]) -> None:
    samples, options = CASES[key]
    if {"condition_on_previous_text", "prompt"} & set(options):
        pytest.skip("what the text before does is sequential's")
    found, want = real.transcript(key[0], samples(), full_windows=True, **options), expected(key)
    if any(segment["temperature"] > 0 or segment["seek"] for segment in want["segments"]):
        pytest.skip("openai-whisper samples here, or needs a second window")
    assert (found.text.strip(), found.language) == (want["text"].strip(), want["language"])
