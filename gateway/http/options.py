"""A form's fields → the options of a session, by endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request

from asr.errors import InvalidOption
from asr.fields import NAMES, parse_options
from asr.languages import LANGUAGES
from asr.options import RequestOptions
from gateway.caller import Caller
from gateway.http.forms import Form
from gateway.service import Service

# what OpenAI's translations do not take, although its transcriptions do
NOT_FOR_TRANSLATIONS = (
    *("task", "language", "languages", "hotwords", "timestamp_granularities", "include", "stream"),
    "chunking_strategy",
)


def refuse_query(request: Request) -> None:
    """Raises InvalidOption for an option in the address, where nothing would read it."""
    if name := next((name for name in request.query_params if name.removesuffix("[]") in NAMES), None):
        raise InvalidOption(f"{name} is a query parameter here, must be a field of the form", param=name)


def transcription_options(form: Form, service: Service, caller: Caller) -> RequestOptions:
    """Options of /v1/audio/transcriptions; raises InvalidOption or ModelNotFound."""
    _check_model(form.fields, service, caller)
    return _parsed(form.fields, service)


def translation_options(form: Form, service: Service, caller: Caller) -> RequestOptions:
    """Options of /v1/audio/translations; raises InvalidOption or ModelNotFound."""
    for spelling in form.fields:
        name = spelling.partition("[")[0]
        if name in NAMES and NAMES[name].name in NOT_FOR_TRANSLATIONS:
            raise InvalidOption(
                f"{spelling} is not a field of translations; /v1/audio/transcriptions takes it, "
                "with task=translate for English text",
                param=spelling,
            )
    return replace(transcription_options(form, service, caller), task="translate")


def language_options(language: str | None, service: Service, caller: Caller) -> RequestOptions:
    """Options where only the language can be chosen."""
    _check_model({}, service, caller)
    return _parsed({} if language is None else {"language": language}, service)


def _parsed(fields: Mapping[str, Any], service: Service) -> RequestOptions:
    return parse_options(
        fields,
        languages=tuple(LANGUAGES)[: service.dispatcher.spec.num_languages],
        max_prompt_chars=service.limits.max_prompt_chars,
    )


def _check_model(fields: Mapping[str, list[str]], service: Service, caller: Caller) -> None:
    names = fields.get("model") or service.model_names(caller)[:1]  # left out: the model that is served
    if not names:
        service.check_model("", caller)
    elif len(names) == 1 and names[0].strip():  # anything else `parse_options` refuses
        service.check_model(names[0], caller)
