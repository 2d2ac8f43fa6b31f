"""A stream's configuration → what its turns ask of a model."""

from __future__ import annotations

from asr.errors import InvalidOption
from asr.sessions.prompting import hotword_tokens, prompt_tokens
from asr.text.tokenizer import tokenizer_for
from gateway.api_errors import ModelNotFound
from gateway.caller import Caller
from gateway.http.options import transcription_request
from gateway.realtime.session_config import SessionConfig
from gateway.realtime.violations import InvalidModel
from gateway.service import ModelRequest, Service

PARAM = "session.audio.input.transcription"
# clients send the name of one of OpenAI's models, whatever the server; each means the model that is served
OPENAI_MODELS = ("whisper-", "gpt-")


def model_request(config: SessionConfig, service: Service, caller: Caller) -> ModelRequest:
    """The request of a form with the same fields; raises InvalidModel, InvalidOption and NotReady."""
    fields = config.fields
    name = config.input.transcription.model
    try:
        service.model(name, caller)
        fields["model"] = name
    except ModelNotFound as error:
        if name is None or not name.startswith(OPENAI_MODELS):
            raise InvalidModel(error.message, param=f"{PARAM}.model") from None
    try:
        request = transcription_request(fields, service, caller)
        if (spec := request.model.spec).is_whisper:
            tokenizer = tokenizer_for(spec.multilingual, spec.num_languages)
            prompt_tokens(request.options, tokenizer)
            hotword_tokens(request.options, tokenizer)
    except InvalidOption as error:
        raise InvalidOption(error.message, param=f"{PARAM}.{error.param}") from None
    return request
