"""A request's fields, as a form, a JSON body or headers send them → RequestOptions.

One row per field: its name, what it takes, where it goes. Parsing, error messages and the README's options
table (scripts/write_docs.py) all come from these rows.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from asr.errors import InvalidOption
from asr.request import groups
from asr.request.language_tags import language_of
from asr.request.options import (
    COMPRESSION_UNITS,
    GRANULARITIES,
    LONG_FORMS,
    RESPONSE_FORMATS,
    TASKS,
    RequestOptions,
)
from asr.request.values import (
    Flag,
    Items,
    Kind,
    Language,
    Number,
    OneOf,
    Text,
    invalid,
    kind_of,
    without_blanks,
)
from asr.schema import DecodingOptions

MAX_PROMPT_CHARS = 4_000
SUFFIX = re.compile(r"\[([0-9]{0,6})\]$")  # of an array's name: keywords[], keywords[0]


@dataclass(frozen=True)
class Field:
    """One field of a request."""

    name: str
    kind: Kind
    meaning: str
    target: str | None = None  # path in RequestOptions; None: read by `asr.request.groups`
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.target is not None:  # a path that leads nowhere fails here, at the import
            attrgetter(self.target)(RequestOptions())

    @property
    def is_array(self) -> bool:
        return isinstance(self.kind, Items)

    @property
    def default(self) -> Any:
        return attrgetter(self.target)(RequestOptions()) if self.target is not None else None


def _guard(name: str, kind: Kind, meaning: str) -> Field:
    return Field(name, kind, meaning, f"guards.{name}")


def _vad(name: str, kind: Kind, meaning: str) -> Field:
    return Field(f"vad_{name}", kind, meaning, f"vad.{name}")


def _decoding(name: str, meaning: str, kind: Kind | None = None) -> Field:
    """A decoding option; without `kind` it takes what its declaration in `DecodingOptions` allows."""
    return Field(name, kind or kind_of(DecodingOptions, name), meaning, f"decoding.{name}")


def _plain(name: str, kind: Kind, meaning: str, *aliases: str) -> Field:
    return Field(name, kind, meaning, name, aliases)


FIELDS = (
    Field("model", Text(200, 1), "a served model's name; with `whisper-1` the gateway chooses by language"),
    _decoding("task", "`translate` writes English", OneOf(TASKS)),
    _decoding("language", "spoken language; without it, detected", Language()),
    _decoding("languages", "candidates for the detection", Items(Language(), 100)),
    _plain(
        "prompt", Text(MAX_PROMPT_CHARS), "text before the audio: style, names, spelling", "initial_prompt"
    ),
    _plain("carry_initial_prompt", Flag(), "`prompt` stays in front of every window (sequential)"),
    _plain("hotwords", Items(Text(100, 1), 100), "words to expect, put before every window", "keywords"),
    Field(
        "temperature", Items(Number(0, 1), 10), "0: the fallback ladder; above: alone; several: the ladder"
    ),
    Field(
        "temperature_increment_on_fallback", Number(0, 1, or_none=True), "step of the ladder; 0: no fallback"
    ),
    _plain("response_format", OneOf(RESPONSE_FORMATS), "shape of the answer"),
    Field(
        "timestamp_granularities",
        Items(OneOf(GRANULARITIES), 2),
        "what `verbose_json` lists; `word` also cuts srt and vtt by words",
        "granularities",
    ),
    Field("include", Items(OneOf(("logprobs",)), 1), "tokens' log-probabilities, with `json` or `stream`"),
    _plain("stream", Flag(), "answer as server-sent events, one per finished segment"),
    Field("chunking_strategy", groups.ChunkingStrategy(), "OpenAI's form of the VAD options"),
    _plain("long_form", OneOf(LONG_FORMS), "windows cut at pauses, or OpenAI's algorithm"),
    _plain("vad_filter", Flag(), "decode only where speech is found (parallel)"),
    _vad("threshold", Number(0, 1), "speech probability above which 32 ms are speech"),
    _vad("min_speech_ms", Number(0, 10_000, whole=True), "shorter bursts are dropped"),
    _vad("min_silence_ms", Number(0, 10_000, whole=True), "shorter pauses do not end a span"),
    _vad("speech_pad_ms", Number(0, 2_000, whole=True), "added on both sides of a span"),
    _vad(
        "max_gap_s",
        Number(0, 30, or_none=True),
        "a longer pause starts a new window; none: windows are filled",
    ),
    _guard(
        "compression_ratio_threshold", Number(0, 1_000, or_none=True), "above: too repetitive, try hotter"
    ),
    _guard("logprob_threshold", Number(-100, 0, or_none=True), "below: too unsure, try hotter"),
    _guard("no_speech_threshold", Number(0, 1, or_none=True), "above, and unsure: silence"),
    _guard(
        "compression_unit", OneOf(COMPRESSION_UNITS), "`bytes`: openai-whisper's UTF-8 count in every script"
    ),
    _decoding("beam_size", "beams at temperature 0"),
    _decoding("best_of", "samples at temperatures above 0"),
    _decoding("patience", "of the beam search; needs `beam_size`", Number(0.1, 10)),
    _decoding("length_penalty", "exponent of the length normalisation"),
    _decoding("max_tokens", "cap per window"),
    _decoding(
        "suppress_tokens",
        "never decoded; -1: non-speech; `[]`: none",
        Items(Number(-1, 60_000, whole=True), 1_000),
    ),
    _decoding("suppress_blank", "no blank at the beginning"),
    _decoding("without_timestamps", "decode text only"),
    Field(
        "max_initial_timestamp",
        kind_of(DecodingOptions, "max_initial_timestamp_s", or_none=True),
        "first timestamp of a window at most, seconds",
        "decoding.max_initial_timestamp_s",
    ),
    _plain("condition_on_previous_text", Flag(), "the last window's text prompts the next (sequential)"),
    _plain("clip_timestamps", Items(Number(0, 1e6), 1_000), "start, end, start, end … in seconds"),
    _plain("hallucination_silence_threshold", Number(0, 30), "seconds; sequential with word times"),
    _plain("prepend_punctuations", Text(200), "joined to the next word"),
    _plain("append_punctuations", Text(200), "joined to the word before"),
)
NAMES = {name: field for field in FIELDS for name in (field.name, *field.aliases)}
REFUSED = {
    "known_speaker_names": "this server does not tell speakers apart",
    "known_speaker_references": "this server does not tell speakers apart",
}


def parse_options(
    fields: Mapping[str, Any],
    *,
    languages: Collection[str] | None = None,
    max_prompt_chars: int = MAX_PROMPT_CHARS,
) -> RequestOptions:
    """The options that `fields` ask for, complete and consistent.

    Values are text or JSON values; repeated fields are lists; null and "" mean not given. Array fields may be
    spelled `name[]` or `name[0]`. `languages` are the model's codes, None for any. Raises InvalidOption.
    """
    values: dict[str, Any] = {}
    for name, raw in _raw_values(fields).items():
        field = NAMES[name]
        if field.name in values:
            raise InvalidOption(f"{field.name} is given twice, as {_spellings(field)}", param=name)
        values[field.name] = field.kind.read(name, raw)
    _find_languages(values, languages)
    if len(values.get("prompt") or "") > max_prompt_chars:
        raise InvalidOption(
            f"prompt has {len(values['prompt'])} characters, must be at most {max_prompt_chars}",
            param="prompt",
        )
    options = _with_values(values)
    options = groups.with_groups(options, values)
    groups.check_combinations(options)
    return options


def plain_name(spelling: str) -> str:
    """A field's name without an array's brackets."""
    return SUFFIX.sub("", spelling)


def _raw_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Raw values by the plain spelling of their name; refuses unknown names and repeated scalars."""
    values: dict[str, Any] = {}
    for spelling, raw in sorted(groups.joined_chunking(without_blanks(fields)).items(), key=_index):
        name = plain_name(spelling)
        field = NAMES.get(name)
        if field is None or (spelling != name and not field.is_array):
            raise _unknown(spelling)
        if field.is_array:
            values[name] = [*values.get(name, []), *(raw if isinstance(raw, list | tuple) else [raw])]
        elif isinstance(raw, list | tuple):
            if len(raw) != 1:
                raise invalid(name, list(raw), f"one value, not {len(raw)}: {field.kind.allowed}")
            values[name] = raw[0]
        else:
            values[name] = raw
    return values


def _index(field: tuple[str, Any]) -> int:
    """The position of a value in its array: 3 for `name[3]`."""
    found = SUFFIX.search(field[0])
    return int(found[1] or 0) if found else 0


def _unknown(spelling: str) -> InvalidOption:
    name = plain_name(spelling)
    if name in REFUSED:
        return InvalidOption(f"{spelling} is not supported: {REFUSED[name]}", param=spelling)
    close = difflib.get_close_matches(name.lower(), NAMES, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    shown = spelling if len(spelling) <= 80 else f"{spelling[:80]}…"
    return InvalidOption(f"unknown option {shown!r}.{hint} Known are {', '.join(sorted(NAMES))}", param=shown)


def _spellings(field: Field) -> str:
    return " and ".join((field.name, *field.aliases))


def _find_languages(values: dict[str, Any], known: Collection[str] | None) -> None:
    """Replaces the codes read by those of a model that knows `known`; raises InvalidOption."""
    candidates = [_model_code("languages", code, known) for code in values.get("languages", ()) if code]
    values["languages"] = tuple(dict.fromkeys(candidates))
    if values.get("language"):
        values["language"] = _model_code("language", values["language"], known)


def _model_code(name: str, code: str, known: Collection[str] | None) -> str:
    found = language_of(code, known)
    if found is None or (known is not None and found not in known):
        raise invalid(name, code, f"one of the model's languages: {', '.join(sorted(known or ()))}")
    return found


def _with_values(values: Mapping[str, Any]) -> RequestOptions:
    """The defaults, with each value at its field's target."""
    options = RequestOptions()
    for field in FIELDS:
        if field.name not in values or field.target is None:
            continue
        value = values[field.name]
        if field.name == "prompt":
            value = value if value.strip() else None
        group, _, attribute = field.target.rpartition(".")
        if group:
            value = dataclasses.replace(getattr(options, group), **{attribute: value})
        options = dataclasses.replace(options, **{group or attribute: value})
    return options
