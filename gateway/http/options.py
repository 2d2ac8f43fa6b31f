"""A request's fields → its model and the options of its session, by endpoint.

Each function raises InvalidOption, ModelNotFound and NotReady, and NotLoaded where a model must load first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request

from asr.errors import InvalidOption
from asr.request.families import check_suits
from asr.request.fields import NAMES, parse_options, plain_name
from asr.request.options import RequestOptions
from asr.request.values import without_blanks
from gateway.caller import Caller
from gateway.dispatch.served_model import ServedModel
from gateway.http.calls import Call
from gateway.openapi.schemas import NOT_FOR_TRANSLATIONS, WebserviceQuery
from gateway.service import ModelRequest, Service


def refuse_query(request: Request) -> None:
    """Raises InvalidOption for an option in the address, because nothing would read it."""
    parameters = without_blanks(request.query_params)
    if name := next((name for name in parameters if plain_name(name) in NAMES), None):
        raise InvalidOption(f"{name} is a query parameter here, must be a field of the form", param=name)


def transcription_request(fields: Mapping[str, Any], service: Service, caller: Caller) -> ModelRequest:
    """What the fields of /v1/audio/transcriptions ask for."""
    model = service.model(_model_name(fields), caller)
    options = _options(fields, model, service)
    if model is service.fleet.default and service.fleet.has_languages:
        language = options.decoding.language
        if language is None and model.spec.is_whisper:
            return ModelRequest(model, options, by_language=True)
        if language is not None and (speaking := service.speaking(language, caller)) is not None:
            model, options = speaking, _options(fields, speaking, service)
    check_suits(options, model.spec)
    return ModelRequest(model, options)


def _options(fields: Mapping[str, Any], model: ServedModel, service: Service) -> RequestOptions:
    return parse_options(
        fields,
        languages=model.spec.language_codes,
        max_prompt_chars=service.limits.max_prompt_chars,
    )


def translation_request(fields: Mapping[str, Any], service: Service, caller: Caller) -> ModelRequest:
    """What the fields of /v1/audio/translations ask for."""
    for spelling in without_blanks(fields):
        name = spelling.partition("[")[0]
        if name in NAMES and NAMES[name].name in NOT_FOR_TRANSLATIONS:
            raise InvalidOption(
                f"{spelling} is not a field of translations; /v1/audio/transcriptions takes it, "
                "with task=translate for English text",
                param=spelling,
            )
    transcription = transcription_request(fields, service, caller)
    decoding = replace(transcription.options.decoding, task="translate")
    options = replace(transcription.options, decoding=decoding)
    check_suits(options, transcription.model.spec)
    return replace(transcription, options=options)


def language_request(language: str | None, service: Service, caller: Caller) -> ModelRequest:
    """A transcription of which the caller chooses nothing but the language."""
    return transcription_request({} if language is None else {"language": language}, service, caller)


async def plain_request(call: Call, language: str | None) -> ModelRequest:
    """The same for a form of files alone, its model loaded; raises BadForm where it holds more."""
    call.form.refuse_fields()
    return await call.chosen(partial(language_request, language, call.service, call.caller))


def webservice_request(query: WebserviceQuery, service: Service, caller: Caller) -> ModelRequest:
    """What the query of /asr asks for."""
    shape = query.output if query.output in ("srt", "vtt", "tsv") else "verbose_json"
    words = query.word_timestamps and query.output == "json"  # the other files have no place for them
    fields = query.model_dump(include={"task", "language", "initial_prompt", "vad_filter"})
    fields |= {"response_format": shape, "timestamp_granularities": ["segment", *(["word"] if words else [])]}
    return transcription_request(fields, service, caller)


def _model_name(fields: Mapping[str, Any]) -> str | None:
    """The model's name in the fields; None too where it is no text, which `parse_options` refuses."""
    name = without_blanks(fields).get("model")
    if isinstance(name, list) and len(name) == 1:
        name = name[0]
    return name if isinstance(name, str) else None
