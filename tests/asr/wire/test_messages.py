"""The window protocol: what goes in comes out, garbage is refused as garbage."""

import contextlib
import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import EngineFailure, InvalidOption
from asr.schema import DecodingOptions, EngineSeconds, Hypothesis, TokenAlignment, Window
from asr.wire import messages
from asr.wire.from_types import checks_of

TOKENS = st.lists(st.integers(0, 51_866), max_size=30).map(tuple)
CODES = st.sampled_from(["en", "hi", "yue"])
OPTIONS = st.builds(
    DecodingOptions,
    task=st.sampled_from(["transcribe", "translate", "detect_language"]),
    language=st.none() | CODES,
    languages=st.lists(CODES, max_size=3).map(tuple),
    prompt=TOKENS,
    temperature=st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, 448),
    beam_size=st.none() | st.integers(1, 10),
    best_of=st.none() | st.integers(1, 10),
    patience=st.none() | st.floats(0.1, 10),
    length_penalty=st.none() | st.floats(0, 1),
    suppress_tokens=st.lists(st.integers(-1, 51_866), max_size=5).map(tuple),
    suppress_blank=st.booleans(),
    without_timestamps=st.booleans(),
    max_initial_timestamp_s=st.none() | st.floats(0, 30),
    word_timestamps=st.booleans(),
    token_logprobs=st.booleans(),
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    num_frames = draw(st.integers(1, 50))
    left_context = draw(st.sampled_from([0, 200]))
    num_samples = draw(st.integers(max(1, left_context), num_frames * 160 + 400))
    samples = np.random.default_rng(draw(st.integers(0, 99))).integers(-32768, 32768, num_samples)
    log_mel_max = draw(st.none() | st.floats(-10, 10))
    return Window(samples.astype(np.int16), num_frames, draw(OPTIONS), left_context, log_mel_max)


@settings(deadline=None)
@given(windows(), st.sampled_from([bytes, bytearray, memoryview]))
def test_a_window_comes_back_the_same(window: Window, body_type: Any) -> None:
    back = messages.decode_window(body_type(messages.encode_window(window)))
    np.testing.assert_array_equal(back.samples, window.samples)
    assert back.samples.dtype == np.int16
    for name in ("num_frames", "options", "left_context", "log_mel_max"):
        assert getattr(back, name) == getattr(window, name)


@pytest.mark.parametrize("num_frames", [1, 3000])
def test_the_largest_windows_pass(num_frames: int) -> None:
    window = Window(np.ones(num_frames * 160 + 400, np.int16), num_frames, DecodingOptions(), 200, 0.5)
    assert len(messages.decode_window(messages.encode_window(window)).samples) == num_frames * 160 + 400


NUMBERS = st.floats()
HYPOTHESES = st.builds(
    Hypothesis,
    tokens=TOKENS,
    avg_logprob=NUMBERS.filter(lambda x: not abs(x) > 1e300 or math.isinf(x)),
    no_speech_prob=st.floats(0, 1),
    temperature=st.floats(0, 1),
    language=CODES,
    language_probs=st.lists(st.tuples(CODES, st.floats(0, 1)), max_size=5).map(tuple),
    truncated=st.booleans(),
    looped=st.booleans(),
    token_logprobs=st.lists(st.floats(-100, 0) | st.just(-math.inf), max_size=5).map(tuple),
    alignment=st.none()
    | st.builds(
        TokenAlignment,
        tokens=TOKENS,
        starts=st.lists(st.integers(-1, 1500), max_size=9).map(tuple),
        probs=st.lists(st.floats(0, 1), max_size=9).map(tuple),
    ),
    seconds=st.builds(EngineSeconds, *[st.floats(0, 1000)] * 4),
)


@settings(deadline=None)
@given(HYPOTHESES)
def test_a_hypothesis_comes_back_the_same(hypothesis: Hypothesis) -> None:
    body = messages.encode_hypothesis(hypothesis)
    json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = messages.decode_hypothesis(body)
    if math.isnan(hypothesis.avg_logprob):
        assert math.isnan(back.avg_logprob)
        back = dataclasses.replace(back, avg_logprob=0.0)
        hypothesis = dataclasses.replace(hypothesis, avg_logprob=0.0)
    assert back == hypothesis


def test_the_layout_is_length_header_pcm() -> None:
    body = messages.encode_window(Window(np.array([1, -2], np.int16), 1, DecodingOptions()))
    length = int.from_bytes(body[:4], "little")
    assert json.loads(body[4 : 4 + length]) == {"version": messages.VERSION, "num_frames": 1}
    assert body[4 + length :] == b"\x01\x00\xfe\xff"


def body_of(header: Any, pcm: bytes = bytes(320)) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(4, "little") + raw + pcm


def test_missing_keys_mean_the_defaults() -> None:
    window = messages.decode_window(body_of({"num_frames": 1}))
    assert (window.options, window.left_context, window.log_mel_max) == (DecodingOptions(), 0, None)


BAD_WINDOWS = {
    "empty": b"",
    "three bytes": b"abc",
    "header too long": (2**31).to_bytes(4, "little") + b"{}",
    "header cut": (100).to_bytes(4, "little") + b"{}",
    "not JSON": body_of(b"{"),
    "not UTF-8": body_of(b"\xff\xfe"),
    "not an object": body_of([1]),
    "deep": body_of(b"[" * 100_000),
    "many digits": body_of(b'{"num_frames":' + b"9" * 10_000 + b"}"),
    "no num_frames": body_of({}),
    "unknown key": body_of({"num_frames": 1, "extra": 1}),
    "unknown option": body_of({"num_frames": 1, "options": {"temprature": 0}}),
    "options not an object": body_of({"num_frames": 1, "options": None}),
    "other version": body_of({"num_frames": 1, "version": 2}),
    "zero frames": body_of({"num_frames": 0}),
    "too many frames": body_of({"num_frames": 3001}),
    "true frames": body_of({"num_frames": True}),
    "NaN": body_of(b'{"num_frames":1,"log_mel_max":NaN}'),
    "infinite temperature": body_of(b'{"num_frames":1,"options":{"temperature":1e999}}'),
    "huge integer temperature": body_of(b'{"num_frames":1,"options":{"temperature":1' + b"0" * 400 + b"}}"),
    "prompt of text": body_of({"num_frames": 1, "options": {"prompt": ["a"]}}),
    "prompt too long": body_of({"num_frames": 1, "options": {"prompt": [1] * 5000}}),
    "bad task": body_of({"num_frames": 1, "options": {"task": "sing"}}),
    "beam": body_of({"num_frames": 1, "options": {"beam_size": 1000}}),
    "context beyond the samples": body_of({"num_frames": 1, "left_context": 200}),
    "no samples": body_of({"num_frames": 1}, b""),
    "half a sample": body_of({"num_frames": 1}, b"abc"),
    "more samples than frames": body_of({"num_frames": 1}, bytes(2 * 561)),
    "far too many samples": body_of({"num_frames": 3000}, bytes(2_000_000)),
}


@pytest.mark.parametrize("body", BAD_WINDOWS.values(), ids=BAD_WINDOWS.keys())
def test_a_bad_window_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidOption, match="the body is not a window") as caught:
        messages.decode_window(body)
    assert caught.value.param == "window"
    assert len(caught.value.message) < 600


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_never_more_than_an_invalid_option(body: bytes) -> None:
    for attempt in (body, body_of(body), body_of({"num_frames": 1}, body)):
        try:
            assert isinstance(messages.decode_window(attempt), Window)
        except InvalidOption:
            continue


@settings(deadline=None)
@given(windows(), st.data())
def test_a_damaged_window_is_a_window_or_an_invalid_option(window: Window, data: st.DataObject) -> None:
    body = bytearray(messages.encode_window(window))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, min(600, len(body) - 1)))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidOption):
        assert isinstance(messages.decode_window(body), Window)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    sorted({*messages.WINDOW_KEYS, *checks_of(DecodingOptions), *messages.HYPOTHESIS_KEYS})
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, JSON_VALUES, max_size=5), st.dictionaries(KEYS, JSON_VALUES, max_size=5))
def test_odd_json_is_never_more_than_a_typed_error(fields: dict[str, Any], options: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidOption):
        messages.decode_window(body_of({"num_frames": 1, **fields}))
    with contextlib.suppress(InvalidOption):
        messages.decode_window(body_of({"num_frames": 1, "options": options}))
    needed = {"tokens": [], "avg_logprob": 0, "no_speech_prob": 0, "temperature": 0, "language": "en"}
    with contextlib.suppress(EngineFailure):
        messages.decode_hypothesis(json.dumps({**needed, **fields}).encode())


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_a_hypothesis_of_random_bytes_is_an_engine_failure(body: bytes) -> None:
    with pytest.raises(EngineFailure, match="not a hypothesis"):
        messages.decode_hypothesis(body)
