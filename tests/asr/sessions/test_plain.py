"""Files of a family beside Whisper: every stretch of speech once, without guards and temperatures."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asr.audio.prepare import PreparedAudio, prepared_from
from asr.constants import SAMPLE_RATE
from asr.engine import ModelSpec
from asr.errors import EngineFailure, InvalidOption
from asr.render.formats import render
from asr.request.fields import parse_options
from asr.request.options import RequestOptions
from asr.schema import Audio, MediaSource, Piece, Samples, Transcript
from asr.sessions import open_detection, open_session
from asr.sessions.ladder import verdict_on
from asr.text.tokenizer import tokenizer_for
from tests.asr.piece_hypotheses import CTC, HINDI, of_pieces, spoken

SOURCE = MediaSource("pcm", "pcm_s16le", SAMPLE_RATE, 1)
FRAME = 512


def audio_of(*parts: tuple[str, float]) -> tuple[Samples, np.ndarray]:
    """Samples, and the speech probability of each frame, of parts ("speech" or "pause", seconds)."""
    probs = np.concatenate(
        [
            np.full(round(s * SAMPLE_RATE / FRAME), 0.95 if what == "speech" else 0.02, np.float32)
            for what, s in parts
        ]
    )
    samples = np.random.default_rng(0).integers(-2000, 2000, len(probs) * FRAME).astype(np.int16)
    return samples, probs


def transcribed(prepared: PreparedAudio, options: RequestOptions, spec: ModelSpec = CTC) -> Transcript:
    session = open_session(prepared, options, spec)
    offers = session.offers()
    assert session.offers() == [], "each window is offered once"
    for offer in reversed(offers):  # in any order
        session.accept(offer, spoken(offer.window))
    assert session.done and session.error is None
    assert session.take_segments() == session.transcript().segments
    return session.transcript()


@pytest.fixture
def two_spans() -> PreparedAudio:
    samples, probs = audio_of(
        ("pause", 3.0), ("speech", 2.0), ("pause", 5.0), ("speech", 4.0), ("pause", 2.0)
    )
    return PreparedAudio(Audio(samples, SOURCE), probs)


def test_each_stretch_of_speech_is_a_segment_where_the_speech_is(two_spans: PreparedAudio) -> None:
    first, second = transcribed(two_spans, RequestOptions()).segments
    assert 2.5 < first.start / SAMPLE_RATE < 3.1 and 4.9 < first.end / SAMPLE_RATE < 5.5
    assert 9.5 < second.start / SAMPLE_RATE < 10.1 and 13.9 < second.end / SAMPLE_RATE < 14.5
    assert first.text.startswith(" ek do tin") and first.words == ()


def test_silence_far_from_the_speech_is_not_heard() -> None:
    samples, probs = audio_of(("pause", 12.0), ("speech", 2.0), ("pause", 10.0))
    session = open_session(PreparedAudio(Audio(samples, SOURCE), probs), RequestOptions(), CTC)
    [offer] = session.offers()
    assert offer.window.num_frames == pytest.approx(440, abs=30)


def test_long_speech_is_cut_and_no_sound_is_heard_twice() -> None:
    samples, probs = audio_of(("speech", 75.0))
    session = open_session(PreparedAudio(Audio(samples, SOURCE), probs), RequestOptions(), CTC)
    windows = [offer.window for offer in session.offers()]
    assert len(windows) >= 3
    heard = sum(window.num_frames for window in windows) / 100
    assert heard == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.1)
    assert all(window.encoder_frames >= window.num_frames for window in windows)
    assert all(window.options.loop_limit is None and not window.options.prompt for window in windows)


def test_a_short_window_shares_a_batch_with_short_ones(two_spans: PreparedAudio) -> None:
    session = open_session(two_spans, RequestOptions(), CTC)
    assert {offer.window.encoder_frames for offer in session.offers()} == {1_000}


def test_words_lie_in_their_window_and_rise(two_spans: PreparedAudio) -> None:
    options = RequestOptions(granularities=("word", "segment"), response_format="verbose_json")
    transcript = transcribed(two_spans, options)
    words = [word for segment in transcript.segments for word in segment.words]
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times) and all(word.probability is None for word in words)
    assert "".join(word.text for word in words) == transcript.text
    answer: dict[str, Any] = json.loads(render(transcript, options)[0])
    assert answer["segments"][0]["avg_logprob"] is None and answer["segments"][0]["no_speech_prob"] is None
    assert answer["words"][0]["word"] == "ek" and answer["words"][0]["probability"] is None


@pytest.mark.parametrize(
    ("spec", "fields", "language"),
    [(CTC, {}, None), (CTC, {"language": "mr"}, "mr"), (HINDI, {}, "hi"), (HINDI, {"language": "hi"}, "hi")],
)
def test_the_language_is_the_requests_or_the_models_only_one(
    two_spans: PreparedAudio, spec: ModelSpec, fields: dict[str, str], language: str | None
) -> None:
    options = parse_options(fields, languages=spec.language_codes)
    assert transcribed(two_spans, options, spec).language == language
    answer = json.loads(render(transcribed(two_spans, options, spec), options)[0])
    assert answer["languages"] == ([{"code": language}] if language else [])


def test_silence_is_an_empty_text_in_no_language() -> None:
    samples, probs = audio_of(("pause", 4.0))
    transcript = transcribed(PreparedAudio(Audio(samples, SOURCE), probs), RequestOptions(), HINDI)
    assert (transcript.text, transcript.segments, transcript.language) == ("", (), None)


def test_without_the_detector_everything_is_heard() -> None:
    samples, _ = audio_of(("pause", 40.0))
    options = RequestOptions(vad_filter=False)
    transcript = transcribed(prepared_from(Audio(samples, SOURCE), options), options)
    assert len(transcript.segments) >= 2
    assert transcript.segments[-1].end == len(samples)


def test_a_window_without_text_is_no_segment(two_spans: PreparedAudio) -> None:
    session = open_session(two_spans, RequestOptions(), CTC)
    first, second = session.offers()
    session.accept(first, of_pieces([]))
    session.accept(second, of_pieces([Piece(" ek")]))
    assert session.transcript().text == " ek" and len(session.transcript().segments) == 1
    assert session.transcript().stats.silent_windows == 1


def test_a_window_that_fails_fails_the_request(two_spans: PreparedAudio) -> None:
    session = open_session(two_spans, RequestOptions(), CTC)
    [offer, _] = session.offers()
    session.accept(offer, EngineFailure("broken"))
    assert session.done and isinstance(session.error, EngineFailure)


def test_such_a_model_detects_no_language(two_spans: PreparedAudio) -> None:
    with pytest.raises(InvalidOption, match="'hindi' detects no language"):
        open_detection(two_spans, RequestOptions(), HINDI)


def test_the_guards_let_missing_probabilities_pass() -> None:
    verdict = verdict_on(
        replace(of_pieces([]), avg_logprob=math.nan), RequestOptions(), tokenizer_for(True, 99)
    )
    assert not verdict.rejected and not verdict.silent
