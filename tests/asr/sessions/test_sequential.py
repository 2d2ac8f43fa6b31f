"""The sequential session against openai-whisper's own loop, over scripted decodings."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import whisper
import whisper.timing

from asr.errors import EngineFailure
from asr.request.options import GuardOptions, RequestOptions
from asr.schema import Segment
from asr.sessions.driver import drive
from asr.sessions.sequential import SequentialSession
from tests.asr.asked import asked
from tests.asr.opened import sequential
from tests.asr.scripted import (
    SPEC,
    ScriptedEngine,
    ScriptedModel,
    openai_alignment,
    random_hypothesis,
)

CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one temperature": {"temperatures": (0.0,)},
    "no conditioning": {"condition_on_previous_text": False},
    "prompt": {"prompt": "Kyoto, Lagos and Timbuktu."},
    "carried prompt": {"prompt": "Kyoto, Lagos and Timbuktu.", "carry_initial_prompt": True},
    "clips": {"clip_timestamps": (2.0, 35.5, 40.0, 61.03, 70.0)},
    "one clip, no end": {"clip_timestamps": (31.0,)},
    "guards off": {"guards": GuardOptions(None, None, None, "bytes")},
    "words": {"granularities": ("word",)},
    "words and silence": {"granularities": ("word",), "hallucination_silence_threshold": 1.5},
    "words, prompt, clips": {
        "granularities": ("word",),
        "hallucination_silence_threshold": 0.5,
        "prompt": "names",
        "clip_timestamps": (0.0, 12.34, 20.0, 74.99),
    },
}


def openai_whisper(samples: np.ndarray, model: ScriptedModel, options: RequestOptions) -> dict[str, Any]:
    return whisper.transcribe(
        model,
        samples.astype(np.float32) / 32768,
        language=options.decoding.language,
        temperature=options.temperatures,
        compression_ratio_threshold=options.guards.compression_ratio_threshold,
        logprob_threshold=options.guards.logprob_threshold,
        no_speech_threshold=options.guards.no_speech_threshold,
        condition_on_previous_text=options.condition_on_previous_text,
        initial_prompt=options.prompt,
        carry_initial_prompt=options.carry_initial_prompt,
        word_timestamps=options.word_timestamps,
        clip_timestamps=list(options.clip_timestamps) or "0",
        hallucination_silence_threshold=options.hallucination_silence_threshold,
        fp16=False,
    )


def ours(samples: np.ndarray, engine: ScriptedEngine, options: RequestOptions) -> SequentialSession:
    session = sequential(samples, options, SPEC)
    drive(engine, [session])
    assert session.error is None
    assert session.done
    return session


class OutOfScript(Exception):
    """openai-whisper listens again and again where the script gives it no way forward."""


def assert_same(segment: Segment, want: dict[str, Any]) -> None:
    assert segment.start / 16_000 == pytest.approx(want["start"], abs=1e-4)
    assert segment.end / 16_000 == pytest.approx(want["end"], abs=1e-4)
    assert (segment.seek, segment.text, list(segment.tokens)) == (
        want["seek"],
        want["text"],
        want["tokens"],
    )
    assert (segment.temperature, segment.avg_logprob) == (want["temperature"], want["avg_logprob"])
    assert segment.compression_ratio == pytest.approx(want["compression_ratio"])
    words = [(w.text, w.start / 16_000, w.end / 16_000) for w in segment.words]
    want_words = [(w["word"], w["start"], w["end"]) for w in want.get("words", [])]
    assert [w[0] for w in words] == [w[0] for w in want_words]
    assert [t for w in words for t in w[1:]] == pytest.approx(
        [t for w in want_words for t in w[1:]], abs=1e-4
    )


SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_same_segments_prompts_and_times_as_openai_whisper(
    case: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper.timing, "find_alignment", openai_alignment)
    rng = random.Random(f"{case} {seed}")
    script = [random_hypothesis(rng) for _ in range(400)]
    options = asked(language="en", **{"guards": GuardOptions(compression_unit="bytes"), **CASES[case]})
    shortest = 75 if options.clip_timestamps else 1  # behind the end openai-whisper never ends
    num_samples = rng.randrange(shortest * 16_000, 90 * 16_000)
    samples = np.random.default_rng(seed).integers(-900, 900, num_samples, np.int16)

    def nth(k: int) -> Any:
        if k >= len(script):
            raise OutOfScript
        return script[k]

    model = ScriptedModel(nth)
    try:
        expected = openai_whisper(samples, model, options)
    except OutOfScript:
        pytest.skip("openai-whisper does not come to an end on this script")
    engine = ScriptedEngine(nth)
    session = ours(samples, engine, options)

    assert engine.asked == model.asked
    assert len(session.segments) == len(expected["segments"])
    for segment, want in zip(session.segments, expected["segments"], strict=True):
        assert_same(segment, want)


def test_an_engine_error_ends_the_session() -> None:
    class Broken(ScriptedEngine):
        def decode(self, windows: Any, on_found: object = None) -> Any:
            return [EngineFailure("out of luck") for _ in windows]

    session = sequential(np.zeros(64_000, np.int16), asked(language="en"), SPEC)
    drive(Broken(lambda k: random_hypothesis(random.Random(k))), [session])
    assert isinstance(session.error, EngineFailure)


def test_a_script_without_a_way_forward_ends() -> None:
    """Words that end where their window begins make openai-whisper listen to the same place for ever."""
    rng = random.Random(5)
    options = asked(language="en", granularities=("word",), temperatures=(0.0,))
    engine = ScriptedEngine(lambda k: random_hypothesis(rng))
    session = sequential(np.zeros(30 * 16_000, np.int16), options, SPEC)
    drive(engine, [session])
    assert session.done
    assert session.error is None


def test_shorter_than_a_frame() -> None:
    session = sequential(np.zeros(100, np.int16), asked(language="en"), SPEC)
    drive(ScriptedEngine(lambda k: random_hypothesis(random.Random(k))), [session])
    assert session.done
    assert session.transcript().text == ""
