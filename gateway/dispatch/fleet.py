"""The served models, by the names that callers use. Today one model serves every name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asr.engine import ModelSpec
from gateway.dispatch.coming_uploads import ComingUploads
from gateway.dispatch.dispatcher import Dispatcher
from gateway.settings import UpstreamSettings


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a model is, and the dispatcher that sends windows to its upstreams."""

    spec: ModelSpec
    dispatcher: Dispatcher


class Fleet:
    """The models and their dispatchers."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._dispatcher = Dispatcher(settings)

    async def start(self) -> None:
        """Begins to look for the upstreams; they may come up later."""
        await self._dispatcher.start()

    async def close(self) -> None:
        """Ends at once; waiting windows fail."""
        await self._dispatcher.close()

    @property
    def models(self) -> dict[str, ServedModel]:
        """Each model under each of its names, the default model under its own name first; raises NotReady."""
        model = ServedModel(self._dispatcher.spec, self._dispatcher)
        return dict.fromkeys((model.spec.name, self._settings.model, *self._settings.aliases), model)

    @property
    def default(self) -> ServedModel:
        """The model of a request that names none; raises NotReady."""
        return next(iter(self.models.values()))

    @property
    def ready(self) -> bool:
        """Whether an upstream of every model answers."""
        return self._dispatcher.ready

    @property
    def coming_uploads(self) -> ComingUploads:
        """Uploads whose form, and with it the name of the model, has not been read yet."""
        return self._dispatcher.coming_uploads

    def stats(self) -> Mapping[str, Any]:
        """The dispatcher's counts."""
        return self._dispatcher.stats()
