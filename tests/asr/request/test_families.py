"""What a family beside Whisper cannot do is refused with the field, its value and the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asr.engine import ModelSpec
from asr.errors import InvalidOption
from asr.request.families import check_suits, suits
from asr.request.fields import parse_options
from tests.asr.piece_hypotheses import CTC, HINDI
from tests.asr.scripted import SPEC as WHISPER

REFUSED: dict[str, Any] = {
    "task": "translate",
    "languages": "hi,en",
    "prompt": "Names: Asha",
    "carry_initial_prompt": "true",
    "hotwords": "Asha",
    "temperature": "0.5",
    "include": "logprobs",
    "long_form": "sequential",
    "compression_ratio_threshold": "2",
    "logprob_threshold": "none",
    "no_speech_threshold": "0.3",
    "compression_unit": "bytes",
    "beam_size": "5",
    "best_of": "3",
    "length_penalty": "0.5",
    "max_tokens": "100",
    "suppress_tokens": "[]",
    "suppress_blank": "false",
    "max_initial_timestamp": "none",
    "prepend_punctuations": "(",
    "append_punctuations": ")",
}
TAKEN: dict[str, Any] = {
    "language": "hi",
    "temperature": "0",
    "temperature_increment_on_fallback": "0",
    "beam_size": "1",
    "response_format": "srt",
    "stream": "true",
    "vad_filter": "false",
    "vad_max_gap_s": "2",
    "clip_timestamps": "0,10",
    "without_timestamps": "true",
}


@pytest.mark.parametrize(("name", "value"), REFUSED.items(), ids=REFUSED)
def test_what_means_nothing_is_refused_by_name(name: str, value: Any) -> None:
    options = parse_options({name: value})
    check_suits(options, WHISPER)
    with pytest.raises(InvalidOption, match=f"{name} is .*, not with this model: ") as refused:
        check_suits(options, CTC)
    assert refused.value.param == name and refused.value.status == 400
    assert not suits(options, CTC)


@pytest.mark.parametrize(("name", "value"), TAKEN.items(), ids=TAKEN)
def test_what_means_something_is_taken(name: str, value: Any) -> None:
    check_suits(parse_options({name: value}), HINDI)


def test_the_value_is_named() -> None:
    with pytest.raises(
        InvalidOption, match=r"temperature is 0\.5, not with this model: it samples nothing: 0"
    ):
        check_suits(parse_options({"temperature": "0.5"}), CTC)


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (replace(CTC, search_paths=4), {"beam_size": "4"}),
        (replace(CTC, search_paths=4, has_hotwords=True), {"hotwords": ["नमस्ते दुनिया", "O'Brien"]}),
    ],
)
def test_a_model_that_was_given_paths_takes_them(spec: ModelSpec, fields: dict[str, Any]) -> None:
    check_suits(parse_options(fields), spec)


def test_words_without_times_are_refused_where_the_family_has_none() -> None:
    fields = {"timestamp_granularities": "word", "response_format": "verbose_json"}
    check_suits(parse_options(fields), CTC)
    with pytest.raises(InvalidOption, match="timestamp_granularities is 'word', not with this model"):
        check_suits(parse_options(fields), replace(CTC, has_word_times=False))


def test_a_model_of_one_language_knows_no_other() -> None:
    with pytest.raises(InvalidOption, match="language is 'fr', must be one of the model's languages: hi"):
        parse_options({"language": "fr"}, languages=HINDI.language_codes)
    assert "fr" in CTC.language_codes, "nobody said what it was trained on"
