"""A rolling upgrade: two versions talk to each other as long as nothing new is asked for.

Yesterday's side is frozen here, its keys written out: it sent every key, and refused those it did not know.
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
from asr.wire.from_types import checks_of, to_json

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
ALIGNMENT_OF_YESTERDAY = {"tokens", "starts", "probs"}  # all of them required
REQUIRED_YESTERDAY = {"tokens", "avg_logprob", "no_speech_prob", "temperature", "language"}

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


def read_yesterday(sent: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """What yesterday's reader took a message for: its own defaults where a key was missing."""
    assert set(sent) <= set(known), "yesterday's reader refuses unknown keys"
    return known | sent


@pytest.mark.parametrize("window", [PLAIN, ASKED], ids=["defaults", "many options"])
def test_yesterdays_worker_reads_todays_window(window: Window) -> None:
    header = header_of(window)
    options = read_yesterday(header.pop("options", {}), WINDOW_OF_YESTERDAY["options"])
    got = read_yesterday(header, WINDOW_OF_YESTERDAY)
    assert options == json.loads(json.dumps(dataclasses.asdict(window.options)))
    assert [got[name] for name in ("num_frames", "left_context", "log_mel_max")] == [
        window.num_frames,
        window.left_context,
        window.log_mel_max,
    ]


def test_only_what_differs_from_its_default_travels() -> None:
    assert header_of(PLAIN) == {"version": 1, "num_frames": 2}
    window = dataclasses.replace(PLAIN, options=DecodingOptions(suppress_tokens=(), loop_limit=2.4))
    assert header_of(window)["options"] == {"suppress_tokens": [], "loop_limit": 2.4}


def test_todays_worker_reads_yesterdays_window() -> None:
    raw = json.dumps(WINDOW_OF_YESTERDAY).encode()
    back = messages.decode_window(len(raw).to_bytes(4, "little") + raw + SAMPLES.tobytes())
    np.testing.assert_array_equal(back.samples, SAMPLES)
    assert dataclasses.replace(back, samples=SAMPLES) == PLAIN


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


def test_yesterdays_gateway_reads_todays_hypothesis() -> None:
    sent = json.loads(messages.encode_hypothesis(FULL))
    assert set(sent) >= REQUIRED_YESTERDAY
    assert set(sent["alignment"]) == ALIGNMENT_OF_YESTERDAY
    got = read_yesterday(sent, HYPOTHESIS_OF_YESTERDAY)
    got["seconds"] = read_yesterday(sent["seconds"], HYPOTHESIS_OF_YESTERDAY["seconds"])
    assert got == {"version": 1, **json.loads(json.dumps(dataclasses.asdict(FULL)))}


def test_todays_gateway_reads_yesterdays_hypothesis() -> None:
    back = messages.decode_hypothesis(json.dumps(HYPOTHESIS_OF_YESTERDAY).encode())
    assert back == Hypothesis((50364, 440), float("-inf"), 0.25, 0.0, "en")


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
