"""OpenAI's list of models: each served model under each of its names."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from gateway.dispatch.served_model import ServedModel
from gateway.http.authentication import authenticated, check_may_load, service_of
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
    return _model(model_id, service.named(model_id, authenticated(request)), service.started_at)


@router.post(
    "/{model_id:path}/load",
    responses=documents.errors(400, 401, 403, 404, 503)
    | documents.json_response("the model, loaded", examples.MODEL),
)
async def load_model(model_id: str, request: Request) -> Model:
    """Loads a model on demand before its first request."""
    service = service_of(request)
    model = _movable(model_id, request)
    await service.fleet.load(model)
    return _model(model_id, model, service.started_at)


@router.post(
    "/{model_id:path}/unload",
    responses=documents.errors(400, 401, 403, 404, 503)
    | documents.json_response("the model, unloaded", examples.MODEL),
)
async def unload_model(model_id: str, request: Request) -> Model:
    """Unloads a model on demand once its requests are done. The next request loads it again."""
    service = service_of(request)
    model = _movable(model_id, request)
    await service.fleet.unload(model)
    return _model(model_id, model, service.started_at)


def _movable(name: str, request: Request) -> ServedModel:
    """The model of this name; raises Forbidden unless the caller may load and unload it."""
    caller = authenticated(request)
    check_may_load(request, caller)
    return service_of(request).on_demand(name, caller)


def _model(name: str, model: ServedModel, created: int) -> Model:
    languages = list(model.settings.languages)
    return Model(id=name, created=created, state=model.state, languages=languages, root=model.name)
