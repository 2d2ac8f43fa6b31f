"""What a family beside Whisper cannot do, refused with the field, its value and the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from asr.engine import ModelSpec
from asr.errors import InvalidOption
from asr.request.fields import NAMES
from asr.request.options import RequestOptions
from asr.schema import DecodingOptions

TEXT_BEFORE = "it takes no text before the audio"
OWN_SEARCH = "its search has no such rule"
NO_PROBABILITY = "it tells no probabilities"
NO_WINDOWS_IN_ROW = "it knows no timestamps to go on from"
# field of a request → why it means nothing; its default is always allowed
MEANINGLESS: Mapping[str, str] = {
    "languages": "it detects no language",
    "prompt": TEXT_BEFORE,
    "carry_initial_prompt": TEXT_BEFORE,
    "long_form": NO_WINDOWS_IN_ROW,
    "condition_on_previous_text": NO_WINDOWS_IN_ROW,
    "hallucination_silence_threshold": NO_WINDOWS_IN_ROW,
    "max_initial_timestamp": NO_WINDOWS_IN_ROW,
    "compression_ratio_threshold": NO_PROBABILITY,
    "compression_unit": NO_PROBABILITY,
    "logprob_threshold": NO_PROBABILITY,
    "no_speech_threshold": NO_PROBABILITY,
    "best_of": "it samples nothing",
    "patience": OWN_SEARCH,
    "length_penalty": OWN_SEARCH,
    "max_tokens": OWN_SEARCH,
    "suppress_tokens": OWN_SEARCH,
    "suppress_blank": OWN_SEARCH,
    "prepend_punctuations": "its words come without marks to join",
    "append_punctuations": "its words come without marks to join",
}
HOTWORD_SYNTAX = "/:#@\n"  # the library's own: lists, scores, thresholds


def check_suits(options: RequestOptions, spec: ModelSpec) -> None:
    """Raises InvalidOption for what a request asks of a family that cannot do it."""
    if spec.is_whisper:
        return
    for name, reason in MEANINGLESS.items():
        field = NAMES[name]
        assert field.target is not None
        value = attrgetter(field.target)(options)
        if value != field.default:
            raise _not_with(name, value, reason)
    if options.temperatures[0] != 0:
        raise _not_with("temperature", options.temperatures[0], "it samples nothing: 0")
    if options.word_timestamps and not spec.has_word_times:
        raise _not_with("timestamp_granularities", "word", "it tells no times of words")
    _check_hotwords(options.hotwords, spec)
    check_decoding(options.decoding, spec)


def suits(options: RequestOptions, spec: ModelSpec) -> bool:
    """Whether the model can do what a request asks for."""
    try:
        check_suits(options, spec)
    except InvalidOption:
        return False
    return True


def check_decoding(options: DecodingOptions, spec: ModelSpec) -> None:
    """Raises InvalidOption for what a window asks of a family that cannot do it."""
    if options.task != "transcribe":
        raise _not_with("task", options.task, "it writes down what is said: transcribe")
    if options.temperature != 0:
        raise _not_with("temperature", options.temperature, "it samples nothing: 0")
    for name, tokens in (("prompt", options.prompt), ("prefix", options.prefix)):
        if tokens:
            raise _not_with(name, list(tokens), TEXT_BEFORE)
    allowed = spec.search_paths or 1
    if options.beam_size not in (None, allowed):
        how = f"it searches along {allowed} paths" if spec.search_paths else "it searches greedily"
        raise _not_with("beam_size", options.beam_size, f"{how}: {allowed}")
    if options.token_logprobs:
        raise _not_with("include", "logprobs", NO_PROBABILITY)
    if options.is_open and not spec.hears_streams:
        raise _not_with("is_open", True, "it hears whole windows alone")
    _check_hotwords(options.hotwords, spec)


def _check_hotwords(hotwords: tuple[str, ...], spec: ModelSpec) -> None:
    if hotwords and not spec.has_hotwords:
        raise _not_with("hotwords", list(hotwords), "that takes search_paths and a bpe.vocab in its folder")
    for word in hotwords:
        if any(mark in word for mark in HOTWORD_SYNTAX):
            raise _not_with("hotwords", word, "a word holds none of / : # @ and line breaks")


def _not_with(name: str, value: Any, reason: str) -> InvalidOption:
    shown = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
    return InvalidOption(f"{name} is {shown}, not with this model: {reason}", param=name)
