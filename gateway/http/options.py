"""A request's fields → the options of a session, by endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request

from asr.errors import InvalidOption
from asr.languages import model_languages
from asr.request.fields import NAMES, parse_options, plain_name
from asr.request.options import RequestOptions
from asr.request.values import without_blanks
from gateway.caller import Caller
from gateway.openapi.schemas import WebserviceQuery
from gateway.service import Service

# what OpenAI's translations do not take, although its transcriptions do
NOT_FOR_TRANSLATIONS = (
    *("task", "language", "languages", "hotwords", "timestamp_granularities", "include", "stream"),
    "chunking_strategy",
)


def refuse_query(request: Request) -> None:
    """Raises InvalidOption for an option in the address, where nothing would read it."""
    given = without_blanks(request.query_params)
    if name := next((name for name in given if plain_name(name) in NAMES), None):
        raise InvalidOption(f"{name} is a query parameter here, must be a field of the form", param=name)


def transcription_options(fields: Mapping[str, Any], service: Service, caller: Caller) -> RequestOptions:
    """Options of /v1/audio/transcriptions; raises InvalidOption or ModelNotFound."""
    _check_model(fields, service, caller)
    return _parsed(fields, service)


def translation_options(fields: Mapping[str, Any], service: Service, caller: Caller) -> RequestOptions:
    """Options of /v1/audio/translations; raises InvalidOption or ModelNotFound."""
    for spelling in without_blanks(fields):
        name = spelling.partition("[")[0]
        if name in NAMES and NAMES[name].name in NOT_FOR_TRANSLATIONS:
            raise InvalidOption(
                f"{spelling} is not a field of translations; /v1/audio/transcriptions takes it, "
                "with task=translate for English text",
                param=spelling,
            )
    options = transcription_options(fields, service, caller)
    return replace(options, decoding=replace(options.decoding, task="translate"))


def language_options(language: str | None, service: Service, caller: Caller) -> RequestOptions:
    """Options where only the language can be chosen."""
    _check_model({}, service, caller)
    return _parsed({} if language is None else {"language": language}, service)


def webservice_options(query: WebserviceQuery, service: Service, caller: Caller) -> RequestOptions:
    """Options of /asr; raises InvalidOption or ModelNotFound."""
    shape = query.output if query.output in ("srt", "vtt", "tsv") else "verbose_json"
    words = query.word_timestamps and query.output == "json"  # the other files have no place for them
    fields = query.model_dump(include={"task", "language", "initial_prompt", "vad_filter"})
    fields |= {"response_format": shape, "timestamp_granularities": ["segment", *(["word"] if words else [])]}
    return transcription_options(fields, service, caller)


def _parsed(fields: Mapping[str, Any], service: Service) -> RequestOptions:
    spec = service.dispatcher.spec
    return parse_options(
        fields,
        languages=model_languages(spec.multilingual, spec.num_languages),
        max_prompt_chars=service.limits.max_prompt_chars,
    )


def _check_model(fields: Mapping[str, Any], service: Service, caller: Caller) -> None:
    model = without_blanks(fields).get("model")
    if isinstance(model, list) and len(model) == 1:
        model = model[0]
    if model is None:  # the model that is served
        model = next(iter(service.model_names(caller)), "")
    if isinstance(model, str):  # anything else `parse_options` refuses
        service.check_model(model, caller)
