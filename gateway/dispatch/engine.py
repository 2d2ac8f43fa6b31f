"""The Engine protocol over TorchServe upstreams, for scripts and benchmarks that know no event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

from asr.engine import ModelSpec
from asr.errors import AsrError
from asr.schema import Hypothesis, Window
from gateway.caller import LOCAL
from gateway.dispatch.dispatcher import Dispatcher
from gateway.errors import NotReady
from gateway.settings import UpstreamSettings

T = TypeVar("T")


class TorchServeEngine:
    """Decodes windows on the upstreams of the settings. To be closed, or used as a context manager."""

    def __init__(self, settings: UpstreamSettings, *, ready_timeout_s: float = 120.0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dispatcher", daemon=True)
        self._thread.start()
        self._dispatcher = self._run(self._open(settings))
        try:
            self._run(self._until_ready(ready_timeout_s))
        except BaseException:
            self.close()
            raise

    @property
    def spec(self) -> ModelSpec:
        return self._dispatcher.spec

    @property
    def max_batch_size(self) -> int:
        """Windows that all upstreams have at work at once."""
        return max(1, sum(lane.batch for lane in self._dispatcher.lanes if lane.alive))

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis | AsrError]:
        return self._run(self._decode(windows))

    def close(self) -> None:
        self._run(self._dispatcher.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> TorchServeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self, settings: UpstreamSettings) -> Dispatcher:
        dispatcher = Dispatcher(settings)
        await dispatcher.start()
        return dispatcher

    async def _until_ready(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not self._dispatcher.ready:
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise NotReady(f"no model server has answered within {timeout_s:g} s") from error

    async def _decode(self, windows: Sequence[Window]) -> list[Hypothesis | AsrError]:
        with self._dispatcher.ticket(LOCAL, 0.0) as ticket:
            return list(await asyncio.gather(*(ticket.decode(window) for window in windows)))
