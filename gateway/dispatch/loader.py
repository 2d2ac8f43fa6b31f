"""Models that come with their first request and go when nobody uses them, or when another needs the memory.

TorchServe knows every model from its start on; loading one is starting its workers. Ending a worker loses
what it decodes, so a model that is to go takes no further request first, and goes when the last one is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from gateway.api_errors import NotReady
from gateway.dispatch.served_model import ServedModel
from gateway.dispatch.workers import num_workers, scale
from gateway.torchserve.failures import NotDecoded

log = logging.getLogger(__name__)

LOAD_S = 600.0  # TorchServe's startupTimeout for the largest checkpoint
POLL_S = 0.05
KEEP_S = 1.0  # between two looks at what is idle or gone
LEAVE_S = 120.0  # for the requests of a model that is to go; then it stays


class Loader:
    """Loads and unloads models, one at a time: the first that is asked for comes first."""

    def __init__(self, models: Sequence[ServedModel], memory_mb: Mapping[str, int], wait_s: float) -> None:
        """memory_mb: for models on demand together, by device; wait_s: a request's longest wait for one."""
        self._models = [model for model in models if model.settings.load == "on_demand"]
        self._memory_mb = memory_mb
        self._wait_s = wait_s
        self._moving = asyncio.Lock()
        self._loads: dict[ServedModel, asyncio.Task[None]] = {}
        self._unseen = set(self._models)  # TorchServe has not said yet whether it keeps workers of them
        self._tasks: set[asyncio.Task[None]] = set()
        for model in self._models:
            model.is_loaded = False
            model.dispatcher.sleep()

    def start(self) -> None:
        """Begins to look after the models on demand."""
        if self._models:
            self._spawn(self._keep())

    async def stop(self) -> None:
        """Ends at once; models stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def using(self, model: ServedModel) -> AsyncIterator[None]:
        """Keeps the model in memory during the block, after it has been loaded; raises NotReady."""
        await self._leaving_over(model)
        model.users += 1  # while it loads, too: nobody takes its place before it has been of use
        model.used_at = _now()
        try:
            await self._loaded(model)
            yield
        finally:
            model.users -= 1
            model.used_at = _now()

    async def load(self, model: ServedModel) -> None:
        """Returns once a worker of the model answers; raises NotReady with the reason."""
        await self._leaving_over(model)
        await self._loaded(model)

    def expect(self, model: ServedModel) -> None:
        """Begins to load a model that a request is about to need."""
        is_on_its_way = model.is_up or model in self._loads
        if not is_on_its_way and not model.is_leaving and not model.has_failed(_now()):
            self._begin(model)

    async def unload(self, model: ServedModel) -> None:
        """Returns once the model has left memory; raises NotReady where requests keep it there."""
        async with self._moving:
            if model.is_up:
                await self._unload(model, "asked for")

    # ---- loading

    async def _leaving_over(self, model: ServedModel) -> None:
        give_up_at = _now() + self._wait_s
        while model.is_leaving:
            if _now() >= give_up_at:
                raise NotReady(f"the model {model.name} is being unloaded; try again in a moment")
            await asyncio.sleep(POLL_S)

    async def _loaded(self, model: ServedModel) -> None:
        if model.is_up:
            return
        if model not in self._loads:
            if model.has_failed(_now()):
                raise NotReady(model.failure)
            self._begin(model)
        if not self._wait_s:
            raise NotReady(f"the model {model.name} is being loaded; try again in a moment")
        done, _ = await asyncio.wait([self._loads[model]], timeout=self._wait_s)
        if not done:
            raise NotReady(f"the model {model.name} is not loaded after {self._wait_s:g} s; try again later")
        if not model.is_up:
            raise NotReady(model.failure)

    def _begin(self, model: ServedModel) -> None:
        model.is_loading = True
        self._loads[model] = self._spawn(self._load(model))

    async def _load(self, model: ServedModel) -> None:
        """Loads the model, or writes down why it could not."""
        began_at = _now()
        try:
            async with self._moving:
                await self._make_room(model)
                await self._start_workers(model)
        except Exception as error:
            if not isinstance(error, NotReady | NotDecoded | TimeoutError):
                log.exception("loading the model %s", model.name)
            log.warning("the model %s could not be loaded: %s", model.name, error or "it took too long")
            model.failure = f"the model {model.name} could not be loaded: {_reason(error)}"
            model.failed_at = _now()
        else:
            model.loads += 1
            model.used_at = _now()
            log.info("the model %s was loaded in %.1f s", model.name, _now() - began_at)
        finally:
            model.is_loading = False
            del self._loads[model]

    async def _start_workers(self, model: ServedModel) -> None:
        """Returns once a worker answers; leaves none where none does."""
        model.is_loaded = True
        try:
            async with asyncio.timeout(LOAD_S):
                await scale(model.dispatcher, model.settings.workers, LOAD_S)
                await _until(lambda: model.dispatcher.ready)
        except Exception:
            with suppress(NotDecoded):
                await scale(model.dispatcher, 0, LOAD_S)
            model.is_loaded = False
            raise

    async def _make_room(self, model: ServedModel) -> None:
        """Unloads models until this one fits, the least recently used first; raises NotReady."""
        for device, needed in model.settings.memory_mb.items():
            most = self._memory_mb.get(device)
            while most is not None and (taken := self._taken(device)) + needed > most:
                loaded = [one for one in self._models if one.is_up and one is not model]
                victims = [one for one in loaded if one.settings.memory_mb.get(device)]
                if not victims:
                    raise NotReady(
                        f"it needs {needed} MB of {device} memory, {most - taken} of {most} MB are free"
                    )
                victim = min(victims, key=lambda one: (one.users > 0, one.used_at))
                await self._unload(victim, f"{model.name} needs its memory")

    def _taken(self, device: str) -> int:
        return sum(one.settings.memory_mb.get(device, 0) for one in self._models if one.is_loaded)

    async def _unload(self, model: ServedModel, why: str) -> None:
        model.is_leaving = True
        try:
            async with asyncio.timeout(LEAVE_S):
                await _until(lambda: not model.users and not model.dispatcher.attempts)
            await scale(model.dispatcher, 0, LOAD_S)
            model.is_loaded = False
            log.info("the model %s was unloaded: %s", model.name, why)
        except TimeoutError:
            raise NotReady(f"{model.users} requests keep the model {model.name} in memory") from None
        except NotDecoded as error:
            model.dispatcher.wake()
            log.warning("the model %s could not be unloaded: %s", model.name, error)
            raise NotReady(f"the model {model.name} could not be unloaded: {_reason(error)}") from error
        finally:
            model.is_leaving = False

    # ---- looking after them

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            for model in self._models:
                try:
                    await self._look_after(model)
                except Exception:
                    log.exception("looking after the model %s", model.name)

    async def _look_after(self, model: ServedModel) -> None:
        if model in self._unseen:
            await self._see(model)
        elif not model.is_up or model.is_leaving:
            return
        elif not model.dispatcher.ready and await num_workers(model.dispatcher) == 0:
            if model.is_up and not model.is_leaving:  # still, after the question
                self._lost(model)
        elif self._is_idle(model) and not self._moving.locked():
            async with self._moving:
                if self._is_idle(model):
                    await self._unload(model, f"nobody used it for {model.settings.idle_s:g} s")

    async def _see(self, model: ServedModel) -> None:
        """Takes over a model that a gateway before this one has loaded."""
        workers = await num_workers(model.dispatcher)
        if workers is None:
            return
        self._unseen.discard(model)
        if workers and not model.is_loaded and not model.is_loading:
            model.is_loaded = True
            model.used_at = _now()
            model.dispatcher.wake()

    def _lost(self, model: ServedModel) -> None:
        """TorchServe has been started again: none of its workers is there."""
        log.warning("the workers of the model %s are gone", model.name)
        model.is_loaded = False
        model.dispatcher.sleep()
        if model.users:
            self._begin(model)

    def _is_idle(self, model: ServedModel) -> bool:
        idle_s = model.settings.idle_s
        return idle_s is not None and model.is_up and not model.users and _now() - model.used_at >= idle_s

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110  # what it asks has no event
        await asyncio.sleep(POLL_S)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reason(error: Exception) -> str:
    """What a caller may know: the gateway's own words, not TorchServe's."""
    if isinstance(error, NotReady):
        return error.message
    return "the model server's log has the reason"
