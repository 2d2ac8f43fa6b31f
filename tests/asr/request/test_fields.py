"""Request fields: what is accepted becomes the right option, what is not names itself."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import InvalidOption
from asr.request.fields import FIELDS, NAMES, Field, parse_options
from asr.request.options import TEMPERATURE_LADDER, GuardOptions, RequestOptions, VadOptions
from asr.request.values import Number
from asr.schema import DecodingOptions
from tests.asr.asked import asked

ACCEPTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"model": "whisper-1"}, {}),
    ({"task": "translate"}, {"task": "translate"}),
    ({"language": "EN"}, {"language": "en"}),
    ({"language": "Hindi"}, {"language": "hi"}),
    ({"language": "pt-BR"}, {"language": "pt"}),
    ({"language": "zh_Hans"}, {"language": "zh"}),
    ({"language": "auto"}, {"language": None}),
    ({"language": ""}, {"language": None}),
    ({"language": None}, {}),
    ({"languages[]": ["hi", "en", "hi"]}, {"languages": ("hi", "en")}),
    ({"languages": "hi, english"}, {"languages": ("hi", "en")}),
    ({"language": "hi", "languages": ["en", "hi"]}, {"language": "hi", "languages": ("en", "hi")}),
    ({"prompt": "नमस्ते 🙂 שלום"}, {"prompt": "नमस्ते 🙂 שלום"}),
    ({"prompt": "a\x00b\x1b[31m\nc"}, {"prompt": "ab[31m\nc"}),
    ({"prompt": "  "}, {"prompt": None}),
    ({"initial_prompt": "x"}, {"prompt": "x"}),
    ({"keywords[]": ["New York, NY", "Pune"]}, {"hotwords": ("New York, NY", "Pune")}),
    ({"hotwords": "New York,Pune"}, {"hotwords": ("New York", "Pune")}),
    ({"temperature": "0"}, {"temperatures": TEMPERATURE_LADDER}),
    ({"temperature": 0}, {"temperatures": TEMPERATURE_LADDER}),
    ({"temperature": "0.4"}, {"temperatures": (0.4,)}),
    ({"temperature": " 1e0 "}, {"temperatures": (1.0,)}),
    ({"temperature": "0,0.5"}, {"temperatures": (0.0, 0.5)}),
    ({"temperature": [0, 0.5, 1]}, {"temperatures": (0.0, 0.5, 1.0)}),
    ({"temperature": "[0.0, 0.5]"}, {"temperatures": (0.0, 0.5)}),
    ({"temperature_increment_on_fallback": "0"}, {"temperatures": (0.0,)}),
    ({"temperature_increment_on_fallback": "none"}, {"temperatures": (0.0,)}),
    ({"temperature_increment_on_fallback": "0.5"}, {"temperatures": (0.0, 0.5, 1.0)}),
    ({"temperature": 0.6, "temperature_increment_on_fallback": 0.2}, {"temperatures": (0.6, 0.8, 1.0)}),
    ({"response_format": "srt"}, {"response_format": "srt"}),
    (
        {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]},
        {"response_format": "verbose_json", "granularities": ("word", "segment")},
    ),
    (
        {"response_format": "verbose_json", "timestamp_granularities": "word"},
        {"response_format": "verbose_json", "granularities": ("word",)},
    ),
    ({"include[]": "logprobs"}, {"token_logprobs": True}),
    ({"include": ["logprobs"]}, {"token_logprobs": True}),
    ({"stream": "True"}, {"stream": True}),
    ({"stream": False}, {}),
    ({"chunking_strategy": "auto"}, {}),
    ({"chunking_strategy": {"type": "auto"}}, {}),
    (
        {"chunking_strategy": '{"type":"server_vad","threshold":0.3,"prefix_padding_ms":300}'},
        {"vad": VadOptions(threshold=0.3, speech_pad_ms=300)},
    ),
    (
        {"chunking_strategy[type]": ["server_vad"], "chunking_strategy[silence_duration_ms]": ["200"]},
        {"vad": VadOptions(min_silence_ms=200)},
    ),
    ({"vad_threshold": "0.4", "vad_max_gap_s": 1}, {"vad": VadOptions(threshold=0.4, max_gap_s=1.0)}),
    ({"condition_on_previous_text": "false"}, {"condition_on_previous_text": False}),
    ({"long_form": "sequential", "condition_on_previous_text": "true"}, {"long_form": "sequential"}),
    ({"long_form": "sequential", "vad_filter": "0"}, {"long_form": "sequential", "vad_filter": False}),
    (
        {"compression_ratio_threshold": "none", "logprob_threshold": "None", "compression_unit": "bytes"},
        {
            "guards": GuardOptions(
                compression_ratio_threshold=None, logprob_threshold=None, compression_unit="bytes"
            )
        },
    ),
    ({"beam_size": "5", "patience": "1.5"}, {"beam_size": 5, "patience": 1.5}),
    ({"best_of": 3.0}, {"best_of": 3}),
    ({"suppress_tokens": "-1, 50257"}, {"suppress_tokens": (-1, 50257)}),
    ({"suppress_tokens": "[]"}, {"suppress_tokens": ()}),
    ({"suppress_tokens": []}, {"suppress_tokens": ()}),
    ({"keywords[1]": "Pune", "keywords[0]": "New York, NY"}, {"hotwords": ("New York, NY", "Pune")}),
    ({"keywords[]": ["a", "b"], "keywords[0]": "c"}, {"hotwords": ("a", "b", "c")}),
    (
        {"response_format": "verbose_json", "timestamp_granularities[0]": "word"},
        {"response_format": "verbose_json", "granularities": ("word",)},
    ),
    ({"prompt": ["", "x"], "initial_prompt": " "}, {"prompt": "x"}),
    ({"keywords[]": ["", "Pune", None]}, {"hotwords": ("Pune",)}),
    ({"keywords": '["", "Pune"]'}, {"hotwords": ("Pune",)}),
    ({"chunking_strategy[type]": "", "chunking_strategy[threshold]": ""}, {}),
    (
        {"chunking_strategy": {"type": "server_vad", "threshold": "", "silence_duration_ms": None}},
        {"vad": VadOptions()},
    ),
    ({"known_speaker_names[]": ""}, {}),
    ({"max_initial_timestamp": "none"}, {"max_initial_timestamp_s": None}),
    ({"clip_timestamps": "0,1.5,3,4"}, {"clip_timestamps": (0.0, 1.5, 3.0, 4.0)}),
    (
        {
            "hallucination_silence_threshold": 2,
            "long_form": "sequential",
            "response_format": "verbose_json",
            "timestamp_granularities": ["word"],
        },
        {
            "hallucination_silence_threshold": 2.0,
            "long_form": "sequential",
            "response_format": "verbose_json",
            "granularities": ("word",),
        },
    ),
]


@pytest.mark.parametrize(("fields", "expected"), ACCEPTED, ids=lambda value: str(value)[:60])
def test_accepted(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert parse_options(fields) == asked(**expected)


REFUSED: list[tuple[dict[str, Any], str, str]] = [  # fields, param, part of the message
    ({"temperatur": "1"}, "temperatur", "Did you mean temperature?"),
    ({"TASK": "translate"}, "TASK", "Did you mean task?"),
    ({"beam_size[]": "3"}, "beam_size[]", "unknown option"),
    ({"x" * 9999: "3"}, "x" * 80 + "…", "unknown option"),
    ({"": "3"}, "", "unknown option"),
    ({"known_speaker_names[]": ["a"]}, "known_speaker_names[]", "speakers"),
    ({"known_speaker_names[0]": "a"}, "known_speaker_names[0]", "speakers"),
    ({"prompt[0]": "a"}, "prompt[0]", "unknown option"),
    ({"keywords[x]": "a"}, "keywords[x]", "unknown option"),
    ({"temperature": "NaN"}, "temperature", "'NaN', must be a number 0..1"),
    ({"temperature": float("nan")}, "temperature", "must be a number 0..1"),
    ({"temperature": "inf"}, "temperature", "0..1"),
    ({"temperature": "-1"}, "temperature", "0..1"),
    ({"temperature": "1e309"}, "temperature", "0..1"),
    ({"temperature": 10**400}, "temperature", "0..1"),
    ({"temperature": "abc"}, "temperature", "'abc'"),
    ({"temperature": "0_1"}, "temperature", "'0_1'"),
    ({"temperature": "٠"}, "temperature", "0..1"),
    ({"temperature": True}, "temperature", "0..1"),
    ({"temperature": "0.5,0.1"}, "temperature", "rise"),
    ({"temperature": "0.0,0.0"}, "temperature", "rise"),
    ({"temperature": ["0", {"a": 1}]}, "temperature", "0..1"),
    (
        {"temperature": "0,.5", "temperature_increment_on_fallback": ".1"},
        "temperature_increment_on_fallback",
        "",
    ),
    ({"temperature_increment_on_fallback": "1e-9"}, "temperature_increment_on_fallback", "0.05"),
    ({"response_format": "diarized_json"}, "response_format", "speakers"),
    ({"response_format": "JSON"}, "response_format", "did you mean 'json'"),
    ({"response_format": "xml"}, "response_format", "json, text, srt, vtt, tsv, verbose_json"),
    ({"response_format": 5}, "response_format", "json, text"),
    ({"task": "summarise"}, "task", "transcribe, translate"),
    ({"language": "klingon"}, "language", "'klingon'"),
    ({"language": ["en", "hi"]}, "language", "one value"),
    ({"language": 7}, "language", "language"),
    ({"languages": "en,xx"}, "languages", "'xx'"),
    ({"language": "hi", "languages": "en,fr"}, "language", "not among languages: en, fr"),
    ({"timestamp_granularities[]": ["word"]}, "timestamp_granularities", "verbose_json"),
    ({"timestamp_granularities[]": ["sentence"]}, "timestamp_granularities", "segment, word"),
    ({"include[]": ["logprobs"], "response_format": "srt"}, "include", "json"),
    ({"include[]": ["everything"]}, "include", "logprobs"),
    ({"stream": "maybe"}, "stream", "true or false"),
    ({"stream": "true", "response_format": "srt"}, "response_format", "stream"),
    ({"chunking_strategy": "manual"}, "chunking_strategy", "server_vad"),
    ({"chunking_strategy": "[" * 100_000}, "chunking_strategy", "server_vad"),
    ({"chunking_strategy": {"type": "server_vad", "speed": 1}}, "chunking_strategy", "speed"),
    (
        {"chunking_strategy": {"type": "server_vad", "threshold": 2}},
        "chunking_strategy.threshold",
        "0..1",
    ),
    ({"chunking_strategy": "auto", "chunking_strategy[type]": "server_vad"}, "chunking_strategy", "twice"),
    (
        {"chunking_strategy": '{"type":"server_vad","threshold":0.1}', "vad_threshold": 0.2},
        "vad_threshold",
        "twice",
    ),
    ({"chunking_strategy": "auto", "long_form": "sequential"}, "chunking_strategy", "long_form=parallel"),
    ({"vad_filter": "true", "long_form": "sequential"}, "vad_filter", "long_form=parallel"),
    ({"condition_on_previous_text": "true"}, "condition_on_previous_text", "long_form=sequential"),
    ({"vad_speech_pad_ms": 1, "vad_filter": "false"}, "vad_speech_pad_ms", "vad_filter=true"),
    ({"prompt": "x" * 4001}, "prompt", "4001 characters"),
    ({"prompt": 5}, "prompt", "text"),
    ({"prompt": "a", "initial_prompt": "b"}, "initial_prompt", "twice"),
    ({"hotwords": "a," * 200}, "hotwords", "200 values"),
    ({"hotwords": ["x" * 101]}, "hotwords", "101 characters"),
    ({"model": "\x00"}, "model", "1..200"),
    ({"beam_size": "0"}, "beam_size", "1..10"),
    ({"beam_size": "11"}, "beam_size", "1..10"),
    ({"beam_size": "2.5"}, "beam_size", "whole number"),
    ({"beam_size": ["2", "3"]}, "beam_size", "one value"),
    ({"patience": "2"}, "patience", "beam_size"),
    ({"max_tokens": "0"}, "max_tokens", "1..448"),
    ({"vad_threshold": "1.5"}, "vad_threshold", "0..1"),
    ({"suppress_tokens": "1,two"}, "suppress_tokens", "'two'"),
    ({"clip_timestamps": "3,1"}, "clip_timestamps", "rise"),
    ({"hallucination_silence_threshold": "2"}, "hallucination_silence_threshold", "word"),
    ({"long_form": "chunked"}, "long_form", "parallel, sequential"),
]


@pytest.mark.parametrize(("fields", "param", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_refused(fields: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_options(fields)
    assert caught.value.param == param
    assert message in caught.value.message
    assert len(caught.value.message) < 2000


@pytest.mark.parametrize("value", ["", "  ", None, [""], ["", None]], ids=repr)
@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_empty_value_is_not_given(name: str, value: Any) -> None:
    assert parse_options({name: value}) == RequestOptions()


def test_a_language_the_model_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(InvalidOption, match="language is 'hi', must be one of the model's languages: en"):
        parse_options({"language": "hi"}, languages=("en",))
    with pytest.raises(InvalidOption, match="languages is 'hi'"):
        parse_options({"languages": "en,hi"}, languages=("en",))


def test_cantonese_is_chinese_where_the_model_does_not_tell_them_apart() -> None:
    with_it, without = ("zh", "yue"), ("zh", "en")
    assert parse_options({"language": "yue-HK"}, languages=with_it).decoding.language == "yue"
    assert parse_options({"language": "yue-HK"}, languages=without).decoding.language == "zh"
    assert parse_options({"languages": "cantonese,zh,en"}, languages=without).decoding.languages == (
        "zh",
        "en",
    )


def test_the_configured_prompt_cap_holds() -> None:
    assert parse_options({"prompt": "12345"}, max_prompt_chars=5).prompt == "12345"
    with pytest.raises(InvalidOption, match="6 characters, must be at most 5"):
        parse_options({"prompt": "123456"}, max_prompt_chars=5)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=8,
)
FIELD_NAMES = st.sampled_from(
    sorted([*NAMES, *(f"{name}[]" for name in NAMES), "chunking_strategy[type]", "x"])
)


@settings(deadline=None)
@given(st.dictionaries(FIELD_NAMES, JSON_VALUES, max_size=4))
def test_any_json_gives_options_or_invalid_option(fields: dict[str, Any]) -> None:
    try:
        options = parse_options(fields)
    except InvalidOption as error:
        assert error.param is not None
        json.dumps(error.body())
    else:
        assert isinstance(options, RequestOptions)
        assert options.temperatures == tuple(sorted(options.temperatures))


@settings(deadline=None)
@given(st.sampled_from(FIELDS), st.text(max_size=30))
def test_any_text_in_any_field_gives_options_or_names_the_field(field: Any, text: str) -> None:
    try:
        parse_options({field.name: text})
    except InvalidOption as error:
        assert error.param in (field.name, "response_format")


def test_every_option_has_a_field() -> None:
    targets = {field.target for field in FIELDS}
    groups = {"decoding": DecodingOptions, "vad": VadOptions, "guards": GuardOptions}
    without = {"temperatures", "granularities", *groups}  # read by asr.request.groups
    for field in dataclasses.fields(RequestOptions):
        assert field.name in targets | without, field.name
    of_windows = {"prompt", "prefix", "temperature", "loop_limit", "word_timestamps", "token_logprobs"}
    of_windows |= {"hotwords", "is_open"}  # a request's hotwords are its own, whatever model takes them
    for group, cls in groups.items():
        for field in dataclasses.fields(cls):
            assert f"{group}.{field.name}" in targets or field.name in of_windows, field.name


def test_a_field_that_leads_nowhere_is_refused_at_once() -> None:
    with pytest.raises(AttributeError, match="best_off"):
        Field("best_of", Number(1, 10), "samples", "decoding.best_off")
