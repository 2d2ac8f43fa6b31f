"""Fields that are read together: temperatures, the chunking strategy, combinations that contradict."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asr.errors import InvalidOption
from asr.request.options import RequestOptions
from asr.request.values import Number, invalid, without_blanks

TEMPERATURE_INCREMENT = 0.2
MIN_TEMPERATURE_INCREMENT = 0.05  # 21 temperatures at most
CHUNKING = "chunking_strategy"
CHUNKING_KEYS = {  # OpenAI's name → ours, and what it takes
    "threshold": ("threshold", Number(0, 1)),
    "prefix_padding_ms": ("speech_pad_ms", Number(0, 2_000, whole=True)),
    "silence_duration_ms": ("min_silence_ms", Number(0, 10_000, whole=True)),
}
WORD_FORMATS = ("verbose_json", "srt", "vtt")
STREAM_FORMATS = ("json", "text", "verbose_json")


@dataclass(frozen=True)
class ChunkingStrategy:
    """OpenAI's `chunking_strategy`: VadOptions fields to replace; none for "auto"."""

    allowed: str = (
        '`auto` or `{"type": "server_vad", "threshold": 0..1, "prefix_padding_ms": 0..2000, '
        '"silence_duration_ms": 0..10000}`'
    )

    def read(self, name: str, value: Any) -> dict[str, Any]:
        strategy = value
        if isinstance(value, str):
            if value.strip() == "auto":
                return {}
            try:
                strategy = json.loads(value)
            except (ValueError, RecursionError):
                strategy = None
        if strategy == {"type": "auto"}:
            return {}
        if not isinstance(strategy, dict) or strategy.get("type") != "server_vad":
            raise invalid(name, value, self.allowed)
        if unknown := sorted(set(strategy) - {"type", *CHUNKING_KEYS}):
            raise InvalidOption(f"{name} has unknown keys {unknown}, must be {self.allowed}", param=name)
        filled = without_blanks(strategy)
        return {
            ours: kind.read(f"{name}.{key}", filled[key])
            for key, (ours, kind) in CHUNKING_KEYS.items()
            if key in filled
        }


def joined_chunking(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with `chunking_strategy[type]=…` and its like joined: OpenAI's SDK flattens it in forms."""
    joined: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    for name, value in fields.items():
        if name.startswith(f"{CHUNKING}[") and name.endswith("]") and name != f"{CHUNKING}[]":
            key = name[len(CHUNKING) + 1 : -1]
            nested[key] = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        else:
            joined[name] = value
    if nested:
        if joined.get(CHUNKING) is not None:
            raise InvalidOption(f"{CHUNKING} is given twice, whole and in parts", param=CHUNKING)
        joined[CHUNKING] = nested
    return joined


def with_groups(options: RequestOptions, values: Mapping[str, Any]) -> RequestOptions:
    """`options` with the values of the fields that have no target of their own."""
    vad = values.get(CHUNKING, {})
    for name in vad:
        if f"vad_{name}" in values:
            raise InvalidOption(f"vad_{name} is given twice, also by {CHUNKING}", param=f"vad_{name}")
    _check_speech_detection(options, values)
    _check_conditioning(options, values)
    return dataclasses.replace(
        options,
        vad=dataclasses.replace(options.vad, **vad),
        decoding=dataclasses.replace(
            options.decoding, token_logprobs="logprobs" in values.get("include", ())
        ),
        granularities=tuple(dict.fromkeys(options.granularities)) or ("segment",),
        temperatures=_temperatures(values),
    )


def _check_speech_detection(options: RequestOptions, values: Mapping[str, Any]) -> None:
    """Raises InvalidOption for options of speech detection where none takes place."""
    asked = [name for name in values if name == CHUNKING or name.startswith("vad_")]
    if not values.get("vad_filter"):  # to switch it off is always allowed
        asked = [name for name in asked if name != "vad_filter"]
    if asked and options.long_form == "sequential":
        raise InvalidOption(
            f"{asked[0]} needs long_form=parallel; sequential detects no speech", param=asked[0]
        )
    if asked and not options.vad_filter:
        raise InvalidOption(f"{asked[0]} needs vad_filter=true; it is false", param=asked[0])


def _check_conditioning(options: RequestOptions, values: Mapping[str, Any]) -> None:
    """Raises InvalidOption where windows cannot be conditioned on the text before them."""
    name = "condition_on_previous_text"
    if values.get(name) and options.long_form == "parallel":
        raise InvalidOption(
            f"{name} needs long_form=sequential; parallel decodes all windows side by side", param=name
        )


def _temperatures(values: Mapping[str, Any]) -> tuple[float, ...]:
    """The ladder: the temperatures of the request if there are several, one with increments, or one alone."""
    name, step_name = "temperature", "temperature_increment_on_fallback"
    ladder: tuple[float, ...] = values.get(name) or (0.0,)
    if len(ladder) > 1:
        if step_name in values:
            raise InvalidOption(f"{step_name} needs a single temperature, got {len(ladder)}", param=step_name)
        if list(ladder) != sorted(set(ladder)):
            raise InvalidOption(f"temperature is {list(ladder)}, must rise from value to value", param=name)
        return ladder
    first = ladder[0]
    # openai-whisper's command line climbs from any temperature; OpenAI's API only from 0, unless asked to
    step = values.get(step_name, TEMPERATURE_INCREMENT if first == 0 else None)
    if not step:
        return (first,)
    if step < MIN_TEMPERATURE_INCREMENT:
        raise invalid(step_name, step, f"0, none or {MIN_TEMPERATURE_INCREMENT}..1")
    return tuple(round(first + index * step, 6) for index in range(int((1.0 - first) / step + 1e-6) + 1))


def check_combinations(options: RequestOptions) -> None:
    """Raises InvalidOption where fields contradict each other."""
    _check_answer(options)
    decoding = options.decoding
    if decoding.language and decoding.languages and decoding.language not in decoding.languages:
        raise InvalidOption(
            f"language is {decoding.language!r}, which is not among languages: "
            f"{', '.join(decoding.languages)}",
            param="language",
        )
    if decoding.patience is not None and decoding.beam_size is None:
        raise InvalidOption(f"patience is {decoding.patience:g}, which needs beam_size", param="patience")
    silence = options.hallucination_silence_threshold
    if silence is not None and not (options.word_timestamps and options.long_form == "sequential"):
        raise InvalidOption(
            f"hallucination_silence_threshold is {silence:g}, which needs timestamp_granularities=word "
            "and long_form=sequential",
            param="hallucination_silence_threshold",
        )
    if list(options.clip_timestamps) != sorted(options.clip_timestamps):
        raise InvalidOption(
            f"clip_timestamps is {list(options.clip_timestamps)}, must rise: start, end, start, end …",
            param="clip_timestamps",
        )


def _check_answer(options: RequestOptions) -> None:
    """Raises InvalidOption where the answer's format cannot carry what is asked for."""
    shape = options.response_format
    if options.word_timestamps and shape not in WORD_FORMATS:
        raise InvalidOption(
            f"timestamp_granularities has 'word', which needs response_format {', '.join(WORD_FORMATS)}; "
            f"it is {shape!r}",
            param="timestamp_granularities",
        )
    if options.decoding.token_logprobs and shape != "json" and not options.stream:
        raise InvalidOption(
            f"include has 'logprobs', which needs response_format json or stream=true; it is {shape!r}",
            param="include",
        )
    if options.stream and shape not in STREAM_FORMATS:
        raise InvalidOption(
            f"stream=true sends events, so response_format must be one of {', '.join(STREAM_FORMATS)}; "
            f"it is {shape!r}",
            param="response_format",
        )
