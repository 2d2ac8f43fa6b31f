"""OpenAI's list of models: each served model under each of its names."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from gateway.dispatch.fleet import ServedModel
from gateway.http.authentication import authenticated, service_of
from gateway.openapi import documents, examples
from gateway.openapi.schemas import Model, ModelList

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", responses=documents.errors(401, 503) | documents.json_response("the names", examples.MODELS))
async def list_models(request: Request) -> ModelList:
    """The names that may be used as `model`."""
    service = service_of(request)
    models = service.models(authenticated(request))
    return ModelList(data=[_model(name, model, service.started_at) for name, model in models.items()])


@router.get(
    "/{model_id:path}",
    responses=documents.errors(401, 404, 503) | documents.json_response("the name", examples.MODEL),
)
async def retrieve_model(model_id: str, request: Request) -> Model:
    """One of them."""
    service = service_of(request)
    caller = authenticated(request)
    models = service.models(caller)
    if model_id not in models:
        service.model(model_id, caller)  # raises in OpenAI's words
    return _model(model_id, models[model_id], service.started_at)


def _model(name: str, model: ServedModel, created: int) -> Model:
    return Model(id=name, created=created, state=model.state, languages=list(model.settings.languages))
