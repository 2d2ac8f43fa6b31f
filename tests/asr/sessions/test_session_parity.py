"""Our sequential mode against `whisper.transcribe`: in float32 tokens, segments and times are equal.

On the bundled demo checkpoint and on a seeded random one; every input alone, and all of them in mixed batches
of nine.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper

from asr.audio import media
from asr.config import EngineConfig, Limits
from asr.engine import Engine
from asr.engines import load_engine
from asr.request.options import GuardOptions, RequestOptions
from asr.schema import Samples
from asr.sessions.driver import drive
from asr.sessions.sequential import SequentialSession
from tests.asr.asked import asked
from tests.asr.checkpoints import random_checkpoint
from tests.asr.opened import sequential
from tests.asr.real import FULL_BATCHES_S

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
DEMO = REPOSITORY / "whisper-models" / "demo.pt"
SECOND = 16_000


@functools.cache
def speech() -> Samples:
    """A minute and a half of speech from the samples."""
    paths = [REPOSITORY / "samples" / name for name in ("harvard.wav", "emma.mp3", "digits.flac")]
    parts = [media.decode(path.read_bytes(), Limits()).samples for path in paths if path.exists()]
    joined = np.concatenate(parts)
    return np.tile(joined, -(-95 * SECOND // len(joined)))[: 95 * SECOND]


def noise(seconds: float, level: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).integers(-level, level + 1, int(seconds * SECOND)).astype(np.int16)


def gain(samples: Samples, factor: float) -> Samples:
    return np.clip(samples * factor, -32768, 32767).astype(np.int16)


def inputs() -> dict[str, tuple[Samples, RequestOptions]]:
    plain = RequestOptions(long_form="sequential")  # what is shipped, in Latin script
    english = asked(plain, language="en")
    voice = speech()
    return {
        "0.3 s": (voice[: int(0.3 * SECOND)], english),
        "10 s, language detected": (voice[: 10 * SECOND], plain),
        "29.9 s": (voice[: int(29.9 * SECOND)], english),
        "30.1 s": (voice[: int(30.1 * SECOND)], english),
        "95 s": (voice, english),
        "silence": (np.zeros(20 * SECOND, np.int16), plain),
        "noise": (noise(12, 3000), english),
        "speech after 40 s of silence": (np.concatenate([noise(40, 1), voice[: 8 * SECOND]]), english),
        "loud": (gain(voice[: 12 * SECOND], 12.0), english),
        "quiet": (gain(voice[: 12 * SECOND], 0.01), english),
        "with a prompt": (voice[5 * SECOND : 21 * SECOND], asked(english, prompt="The smell of old beer.")),
        "no conditioning": (voice[: 50 * SECOND], asked(english, condition_on_previous_text=False)),
        "clips": (voice[: 60 * SECOND], asked(english, clip_timestamps=(3.0, 20.0, 31.5))),
        "words": (voice[: 35 * SECOND], asked(english, granularities=("segment", "word"))),
        "odd length": (voice[: 7 * SECOND + 81], english),
        "suppressed tokens": (voice[: 9 * SECOND], asked(english, suppress_tokens=(-1, 220, 13))),
        "without timestamps": (voice[: 33 * SECOND], asked(english, without_timestamps=True)),
        "beam search": (voice[: 9 * SECOND], asked(english, beam_size=5)),
    }


def openai_whisper(model: whisper.Whisper, samples: Samples, options: RequestOptions) -> dict[str, Any]:
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
        word_timestamps=options.word_timestamps,
        clip_timestamps=list(options.clip_timestamps) or "0",
        suppress_tokens=list(options.decoding.suppress_tokens),
        without_timestamps=options.decoding.without_timestamps,
        beam_size=options.decoding.beam_size,
        fp16=False,
    )


def ours(engine: Engine, requests: list[tuple[Samples, RequestOptions]]) -> list[SequentialSession]:
    sessions = [sequential(s, o, engine.spec) for s, o in requests]
    drive(engine, sessions)
    assert [session.error for session in sessions] == [None] * len(sessions)
    return sessions


def assert_equal(session: SequentialSession, expected: dict[str, Any]) -> None:
    """Equal segments, up to and without the first that both sides sampled."""
    assert session.transcript().language == expected["language"]
    for i, want in enumerate(expected["segments"]):
        got = session.segments[i]
        assert (got.seek, got.temperature > 0) == (want["seek"], want["temperature"] > 0)
        if want["temperature"] > 0:
            return
        assert (list(got.tokens), got.text) == (want["tokens"], want["text"])
        assert got.start / SECOND == pytest.approx(want["start"], abs=1e-4)
        assert got.end / SECOND == pytest.approx(want["end"], abs=1e-4)
        assert got.avg_logprob == pytest.approx(want["avg_logprob"], abs=1e-3)
        assert got.no_speech_prob == pytest.approx(want["no_speech_prob"], abs=1e-3)
        for word, want_word in zip(got.words, want.get("words", []), strict=True):
            assert word.text == want_word["word"]
            assert word.start / SECOND == pytest.approx(want_word["start"], abs=1e-4)
            assert word.end / SECOND == pytest.approx(want_word["end"], abs=1e-4)
            assert word.probability == pytest.approx(want_word["probability"], abs=1e-3)
    assert len(session.segments) == len(expected["segments"])


class Pair:
    """A checkpoint in both implementations, and what openai-whisper makes of every input."""

    def __init__(self, path: Path, **changes: Any) -> None:
        self.model = whisper.load_model(str(path), device="cpu")
        settings = {"device": "cpu", "precision": "float32", "warm_up": False}
        self.engine = load_engine(EngineConfig(str(path), **settings, max_batch_s=FULL_BATCHES_S), None)
        self.requests = {
            name: (samples, replace(options, **changes)) for name, (samples, options) in inputs().items()
        }

    @functools.cached_property
    def expected(self) -> dict[str, dict[str, Any]]:
        return {name: openai_whisper(self.model, *request) for name, request in self.requests.items()}


@pytest.fixture(scope="module", params=["demo", "random"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    if not (REPOSITORY / "samples" / "harvard.wav").exists():
        pytest.skip("samples/ is not there")
    if request.param == "random":
        # a random model's text is unlikely at every temperature: take what temperature 0 gives
        path = random_checkpoint(tmp_path_factory.mktemp("weights"), seed=7)
        return Pair(path, temperatures=(0.0,), guards=GuardOptions(None, None, None, "bytes"))
    if not DEMO.exists():
        pytest.skip("whisper-models/demo.pt is not there")
    # one rung above 0: whether a window falls back is compared, the sampled text cannot be
    return Pair(DEMO, temperatures=(0.0, 1.0))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_input_alone(pair: Pair) -> None:
    for name, request in pair.requests.items():
        session = ours(pair.engine, [request])[0]
        try:
            assert_equal(session, pair.expected[name])
        except AssertionError as error:
            raise AssertionError(f"input {name!r}: {error}") from error


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_in_mixed_batches_of_nine(pair: Pair) -> None:
    for first in (0, 1):
        group = list(pair.requests)[first::2]
        sessions = ours(pair.engine, [pair.requests[name] for name in group])
        for name, session in zip(group, sessions, strict=True):
            try:
                assert_equal(session, pair.expected[name])
            except AssertionError as error:
                raise AssertionError(f"input {name!r} in a batch: {error}") from error
