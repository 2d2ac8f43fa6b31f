"""A rolling upgrade: two versions talk to each other as long as nothing new is asked for.

Yesterday's side is frozen here, its keys and messages written out: it sent every key, and refused those that
it did not know.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import numpy as np
import pytest
from annotated_types import Interval

from asr.errors import EngineFailure, InvalidOption
from asr.schema import DecodingOptions, EngineSeconds, Hypothesis, TokenAlignment, Window
from asr.wire import messages
from asr.wire.checks import Check, flag, many, maybe, number, one_of, read, text, whole
from asr.wire.from_types import checks_of, to_json

WINDOW_KEYS: dict[str, Check] = {
    "version": whole(1, 1),
    "num_frames": whole(1, 3_000),
    "left_context": whole(0, 200),
    "log_mel_max": maybe(number(-100, 100)),
    "options": lambda value: value,
}
OPTION_KEYS: dict[str, Check] = {
    "task": one_of("transcribe", "translate", "detect_language"),
    "language": maybe(text(16)),
    "languages": many(text(16), 200),
    "prompt": many(whole(0, 2**20), 4_096),
    "temperature": number(0, 10),
    "max_tokens": maybe(whole(1, 448)),
    "beam_size": maybe(whole(1, 10)),
    "best_of": maybe(whole(1, 10)),
    "patience": maybe(number(0, 100)),
    "length_penalty": maybe(number(0, 1)),
    "suppress_tokens": many(whole(-2, 2**20), 4_096),
    "suppress_blank": flag,
    "without_timestamps": flag,
    "max_initial_timestamp_s": maybe(number(0, 30)),
    "word_timestamps": flag,
    "token_logprobs": flag,
    "loop_limit": maybe(number(0, 1_000)),
}
HYPOTHESIS_KEYS: dict[str, Check] = {
    "version": whole(1, 1),
    "tokens": many(whole(0, 2**20), 4_096),
    "avg_logprob": number(),
    "no_speech_prob": number(),
    "temperature": number(),
    "language": text(16),
    "language_probs": many(many(lambda value: value, 2), 5),
    "truncated": flag,
    "looped": flag,
    "token_logprobs": many(number(), 4_096),
    "alignment": maybe(lambda value: value),
    "seconds": lambda value: value,
}
ALIGNMENT_KEYS: dict[str, Check] = {
    "tokens": many(whole(0, 2**20), 4_096),
    "starts": many(whole(-1, 2**20), 4_096),
    "probs": many(number(), 4_096),
}
SECONDS_KEYS: dict[str, Check] = dict.fromkeys(("features", "encode", "decode", "words"), number(0, 1e9))
REQUIRED = ("tokens", "avg_logprob", "no_speech_prob", "temperature", "language")

WINDOW_OF_YESTERDAY: dict[str, Any] = {
    "version": 1,
    "num_frames": 2,
    "left_context": 0,
    "log_mel_max": None,
    "options": {
        "task": "transcribe",
        "language": None,
        "languages": [],
        "prompt": [],
        "temperature": 0.0,
        "max_tokens": None,
        "beam_size": None,
        "best_of": None,
        "patience": None,
        "length_penalty": None,
        "suppress_tokens": [-1],
        "suppress_blank": True,
        "without_timestamps": False,
        "max_initial_timestamp_s": 1.0,
        "word_timestamps": False,
        "token_logprobs": False,
        "loop_limit": None,
    },
}
HYPOTHESIS_OF_YESTERDAY: dict[str, Any] = {
    "version": 1,
    "tokens": [50364, 440],
    "avg_logprob": "-inf",
    "no_speech_prob": 0.25,
    "temperature": 0.0,
    "language": "en",
    "language_probs": [],
    "truncated": False,
    "looped": False,
    "token_logprobs": [],
    "alignment": None,
    "seconds": {"features": 0.0, "encode": 0.0, "decode": 0.0, "words": 0.0},
}

SAMPLES = np.arange(400, dtype=np.int16)
PLAIN = Window(SAMPLES, 2)
ASKED = Window(
    SAMPLES,
    2,
    DecodingOptions(
        task="translate",
        language="de",
        prompt=(1, 2),
        temperature=0.4,
        beam_size=5,
        patience=1.5,
        suppress_tokens=(),
        suppress_blank=False,
        max_initial_timestamp_s=None,
        word_timestamps=True,
        loop_limit=2.4,
    ),
    200,
    0.5,
)


def header_of(window: Window) -> dict[str, Any]:
    body = messages.encode_window(window)
    header: dict[str, Any] = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])
    return header


@pytest.mark.parametrize("window", [PLAIN, ASKED], ids=["defaults", "many options"])
def test_yesterdays_worker_reads_todays_window(window: Window) -> None:
    fields = read(WINDOW_KEYS, header_of(window), "window", ("num_frames",))
    fields.pop("version")
    options = DecodingOptions(**read(OPTION_KEYS, fields.pop("options", {}), "options"))
    assert (window.options, window.num_frames) == (options, fields["num_frames"])
    assert window.left_context == fields.get("left_context", 0)
    assert window.log_mel_max == fields.get("log_mel_max")


def test_only_what_differs_from_its_default_travels() -> None:
    assert header_of(PLAIN) == {"version": 1, "num_frames": 2}
    window = dataclasses.replace(PLAIN, options=DecodingOptions(suppress_tokens=(), loop_limit=2.4))
    assert header_of(window)["options"] == {"suppress_tokens": [], "loop_limit": 2.4}


def test_todays_worker_reads_yesterdays_window() -> None:
    raw = json.dumps(WINDOW_OF_YESTERDAY).encode()
    back = messages.decode_window(len(raw).to_bytes(4, "little") + raw + SAMPLES.tobytes())
    np.testing.assert_array_equal(back.samples, SAMPLES)
    fields = [field.name for field in dataclasses.fields(back) if field.name != "samples"]
    assert [getattr(back, name) for name in fields] == [getattr(PLAIN, name) for name in fields]


PLAIN_HYPOTHESIS = Hypothesis((50364, 440), float("-inf"), 0.25, 0.0, "en")
FULL = Hypothesis(
    tokens=(50364, 440),
    avg_logprob=-0.5,
    no_speech_prob=0.1,
    temperature=0.2,
    language="hi",
    language_probs=(("hi", 0.9),),
    truncated=True,
    token_logprobs=(-0.1, -0.2),
    alignment=TokenAlignment((440,), (0, 5), (0.9,)),
    seconds=EngineSeconds(decode=0.25),
)


@pytest.mark.parametrize("hypothesis", [PLAIN_HYPOTHESIS, FULL], ids=["defaults", "all"])
def test_yesterdays_gateway_reads_todays_hypothesis(hypothesis: Hypothesis) -> None:
    sent = json.loads(messages.encode_hypothesis(hypothesis))
    fields = read(HYPOTHESIS_KEYS, sent, "hypothesis", REQUIRED)
    fields.pop("version")
    fields["seconds"] = EngineSeconds(**read(SECONDS_KEYS, fields.get("seconds", {}), "seconds"))
    if fields.get("alignment") is not None:
        alignment = read(ALIGNMENT_KEYS, fields["alignment"], "alignment", tuple(ALIGNMENT_KEYS))
        fields["alignment"] = TokenAlignment(**alignment)
    assert Hypothesis(**fields) == hypothesis


def test_todays_gateway_reads_yesterdays_hypothesis() -> None:
    assert messages.decode_hypothesis(json.dumps(HYPOTHESIS_OF_YESTERDAY).encode()) == PLAIN_HYPOTHESIS


@dataclasses.dataclass(frozen=True)
class OptionsOfTomorrow:
    """A version with one more option."""

    beam_size: Annotated[int, Interval(ge=1, le=10)] | None = None
    repetition_penalty: Annotated[float, Interval(ge=0, le=2)] | None = None


def test_an_option_of_tomorrow_is_refused_only_where_it_is_used() -> None:
    plain, new = OptionsOfTomorrow(beam_size=2), OptionsOfTomorrow(repetition_penalty=1.1)
    for options, is_read in ((plain, True), (new, False)):
        raw = json.dumps({"num_frames": 1, "options": to_json(options)}).encode()
        body = len(raw).to_bytes(4, "little") + raw + bytes(320)
        if is_read:
            assert messages.decode_window(body).options == DecodingOptions(beam_size=2)
        else:
            with pytest.raises(InvalidOption, match="repetition_penalty"):
                messages.decode_window(body)


def test_a_field_without_bounds_is_no_field_of_the_wire() -> None:
    @dataclasses.dataclass(frozen=True)
    class Unbounded:
        count: int = 0

    Unbounded.__annotations__ = {"count": int}
    with pytest.raises(TypeError, match="needs an Interval"):
        checks_of(Unbounded)


def test_the_path_of_a_bad_value_is_named() -> None:
    sent = HYPOTHESIS_OF_YESTERDAY | {"alignment": {"tokens": [1], "starts": [-2], "probs": [0.5]}}
    with pytest.raises(EngineFailure, match=r"hypothesis\.alignment\.starts is -2, must be"):
        messages.decode_hypothesis(json.dumps(sent).encode())
