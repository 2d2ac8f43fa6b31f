"""The served models, by the names that callers use and by the languages that they take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from gateway.api_errors import NotReady
from gateway.dispatch.coming_uploads import ComingUploads
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.live_first import LiveFirst
from gateway.dispatch.loader import Loader
from gateway.dispatch.pending import PendingWindow
from gateway.dispatch.served_model import NotLoaded, ServedModel
from gateway.settings import ModelSettings, UpstreamSettings

SUMMED = (
    "outstanding",
    "waiting_windows",
    "waiting_audio_s",
    "quarantined",
    "sent",
    "retries",
    "resent",
    "deaths",
)
ON_PURPOSE = ("unloading", "unloaded")  # no worker answers, and nothing is wrong
UPSTREAM_SUMS = ("workers", "outstanding")  # of one server, over its models


class Fleet:
    """The models and their dispatchers; the first is the default."""

    def __init__(self, settings: UpstreamSettings) -> None:
        usual = ModelSettings(aliases=settings.aliases, fallback=settings.fallback, workers=settings.workers)
        models = {settings.model: usual, **settings.models}
        queues: list[LiveFirst[PendingWindow]] = [LiveFirst() for _ in models]
        for queue in queues:
            queue.share_weights([other for other in queues if other is not queue])
        self._served = [
            ServedModel(name, model, Dispatcher(_upstream_of(settings, name, model), queue))
            for (name, model), queue in zip(models.items(), queues, strict=True)
        ]
        self._by_language = {code: served for served in self._served for code in served.settings.languages}
        self._loader = Loader(self._served, settings.memory_mb, settings.load_wait_s)

    async def start(self) -> None:
        """Begins to look for the upstreams; they may come up later."""
        for served in self._served:
            await served.dispatcher.start()
        self._loader.start()

    async def close(self) -> None:
        """Ends at once; waiting windows fail."""
        await self._loader.stop()
        for served in self._served:
            await served.dispatcher.close()

    @property
    def models(self) -> dict[str, ServedModel]:
        """Each model under each of its names, the default model under its own name first; raises NotReady."""
        default = self.default
        named = {default.spec.name: default}
        for served in self._served:
            named |= dict.fromkeys((served.name, *served.settings.aliases), served)
        return named

    @property
    def default(self) -> ServedModel:
        """The model of a request that names none; raises NotReady before it has answered once."""
        served = self._served[0]
        _ = served.spec
        return served

    @property
    def ready(self) -> bool:
        """Whether an upstream of the default model answers; the others degrade alone."""
        return self._served[0].dispatcher.ready

    @property
    def coming_uploads(self) -> ComingUploads:
        """Uploads whose form, and with it the name of the model, has not been read yet."""
        return self._served[0].dispatcher.coming_uploads

    def speaks(self, language: str) -> ServedModel | None:
        """The model that takes this language; None where the default one does."""
        return self._by_language.get(language)

    @property
    def has_languages(self) -> bool:
        """Whether a model takes a language from the default one."""
        return bool(self._by_language)

    def answering(self, served: ServedModel) -> ServedModel:
        """The model, or the first of its fallbacks that a worker answers for; the model if none does."""
        now = time.monotonic()  # the loop's clock, which jobs' threads have not
        seen, one = {served.name}, served
        while not one.may_answer(now) and one.settings.fallback is not None:
            one = next(each for each in self._served if each.name == one.settings.fallback)
            if one.name in seen:
                return served
            seen.add(one.name)
        return one if one.may_answer(now) else served

    def check_known(self, served: ServedModel) -> None:
        """Raises NotLoaded where the model must be loaded first, NotReady where it cannot be."""
        if served.dispatcher.is_known:
            return
        if not served.is_up:
            raise NotLoaded(served)
        raise NotReady(f"the model {served.name} is not loaded; the model server's log has the reason")

    def using(self, served: ServedModel) -> AbstractAsyncContextManager[None]:
        """Keeps the model in memory during the block, after it has been loaded; raises NotReady."""
        return self._loader.using(served)

    async def load(self, served: ServedModel) -> None:
        """Returns once the model is loaded; raises NotReady with the reason."""
        await self._loader.load(served)

    def expect(self, served: ServedModel) -> None:
        """Begins to load a model that a request is about to need."""
        self._loader.expect(served)

    async def unload(self, served: ServedModel) -> None:
        """Returns once the model has left memory; raises NotReady where requests keep it there."""
        await self._loader.unload(served)

    def stats(self) -> Mapping[str, Any]:
        """The dispatchers' counts, summed, and what differs by model."""
        every = [served.dispatcher.stats() for served in self._served]
        sums = {key: sum(stats[key] for stats in every) for key in SUMMED}
        models = [
            {
                "name": served.name,
                **({} if served.state in ON_PURPOSE else {"ready": served.state == "ready"}),
                "loads": served.loads,
                "windows": stats["outstanding"] + stats["waiting_windows"],
            }
            for served, stats in zip(self._served, every, strict=True)
        ]
        return {**sums, "models": models, "upstreams": _upstreams([stats["upstreams"] for stats in every])}


def _upstream_of(settings: UpstreamSettings, name: str, model: ModelSettings) -> UpstreamSettings:
    """The settings of one model's dispatcher."""
    return settings.model_copy(update={"model": name, "workers": model.workers, "models": {}})


def _upstreams(every: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One entry for each server: the default model's, its workers and windows summed over the models."""
    return [
        {**same[0], **{key: sum(stats[key] for stats in same) for key in UPSTREAM_SUMS if key in same[0]}}
        for same in zip(*every, strict=True)
    ]
