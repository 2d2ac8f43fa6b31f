"""A TorchServe without model and Java: same routes, same wire format, same batching, failures on demand.

It batches as TorchServe does: one worker at a time collects a batch, which closes at its size or after
`max_batch_delay_s`; each worker decodes one batch at a time; beyond `queue_size` waiting rows it answers 503;
a client that leaves is not noticed. `tests.gateway.fake_hypotheses` says what it answers to a window.

    with FakeTorchServe(delay_s=0.05, batch_size=16) as fake:
        fake.fail_next("die")
        … fake.url, fake.management_url, fake.windows, fake.batches
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

import uvicorn

from asr.engine import ModelSpec
from asr.errors import AsrError, EngineFailure, Overloaded
from asr.schema import Hypothesis, Window
from asr.wire import messages
from tests.gateway.fake_answers import (
    BATCH_FAILURES,
    NO_MEMORY,
    NO_WORKER,
    WINDOW_FAILURES,
    Answer,
    Row,
    answer_all,
    refusal,
    torchserve_error,
)
from tests.gateway.fake_hypotheses import SPEC, fake_hypothesis

START_TIMEOUT_S = 20
JSON = "application/json"
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class FakeTorchServe:
    """Runs in a thread of its own. All times are in seconds; the attributes may be changed while it runs."""

    def __init__(
        self,
        delay_s: float = 0.02,
        batch_size: int = 16,
        workers: int = 1,
        *,
        max_batch_delay_s: float = 0.005,
        queue_size: int = 64,
        restart_s: float = 0.05,
        key: str | None = None,
        keep_windows: bool = True,
    ) -> None:
        self.delay_s = delay_s  # of one batch
        self.batch_size = batch_size
        self.workers = workers
        self.max_batch_delay_s = max_batch_delay_s
        self.queue_size = queue_size
        self.restart_s = restart_s  # of a worker that died
        self.key = key  # asked for as TorchServe's token authorization does
        self.hypothesis: Callable[[Window], Hypothesis] = fake_hypothesis
        self.keep_windows = keep_windows  # off for long runs: a window is up to 960 KB
        self.poison: Callable[[Window], bool] = lambda window: False  # kills the worker that decodes it
        self.starves: Callable[[Window], bool] = lambda window: False  # there is no memory for it
        self.is_held: Callable[[], bool] = lambda: False  # a batch that has begun has no answer meanwhile
        self.spec = SPEC  # of every model
        self.models = {"whisper"}  # by their names; another one is a path that is not there
        self.without_workers: set[str] = set()  # of `models`; the management API changes it
        self.load_s = 0.0  # until a model's worker is there
        self.fails_to_load: set[str] = set()
        self.scaled: list[tuple[str, int]] = []  # (model, workers), as the management API was asked for
        self.asked: Counter[str] = Counter()  # windows by the model that they went to
        self.under_way: Counter[str] = Counter()  # of them, those without an answer
        self.unlike: dict[str, tuple[ModelSpec, Callable[[Window], Hypothesis]]] = {}
        self.lost: Counter[str] = Counter()  # of them, those whose worker was ended
        self.windows: list[Window] = []  # received, in order, those refused and failed included
        self.num_windows = 0
        self.batches: list[list[Window]] = []  # begun
        self.deaths = 0
        self._failures: Counter[str] = Counter()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = self.management_url = f"http://127.0.0.1:{self.port}"

    def fail_next(self, kind: str, count: int = 1) -> None:
        """The next `count` windows meet a failure of WINDOW_FAILURES, or the next batches one of
        BATCH_FAILURES."""
        if kind not in BATCH_FAILURES and kind not in WINDOW_FAILURES:
            raise ValueError(f"{kind!r} is not one of {(*BATCH_FAILURES, *WINDOW_FAILURES)}")
        self._failures[kind] += count

    def __enter__(self) -> FakeTorchServe:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listens on `port`; after `stop` again on the same one."""
        config = uvicorn.Config(
            self._app,
            host="127.0.0.1",
            port=self.port,
            interface="asgi3",
            lifespan="off",
            log_level="critical",
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        give_up = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > give_up:
                raise RuntimeError(f"the fake TorchServe did not start on port {self.port}")
            time.sleep(0.002)

    def stop(self) -> None:
        """Ends at once, as TorchServe does: open requests are cut off."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(START_TIMEOUT_S)

    # ---- workers

    async def _serve(self) -> None:
        self._queue: asyncio.Queue[Row] = asyncio.Queue(self.queue_size)
        self._collecting = asyncio.Lock()
        crew = asyncio.create_task(self._crew())
        await self._server.serve()
        crew.cancel()

    async def _crew(self) -> None:
        """Keeps as many workers running as `workers` says."""
        running: list[asyncio.Task[None]] = []
        while True:
            while len(running) < self.workers:
                running.append(asyncio.create_task(self._worker()))
            while len(running) > self.workers:
                running.pop().cancel()
            await asyncio.sleep(0.01)

    async def _worker(self) -> None:
        while True:
            async with self._collecting:
                rows = await self._collect()
            windows = [row.window for row in rows if row.window is not None]
            if windows:
                self.batches.append(windows)
            failure = self._batch_failure(windows)
            try:
                await asyncio.sleep(self.delay_s if windows else 0)
                while windows and self.is_held():
                    await asyncio.sleep(0.005)
            except asyncio.CancelledError:  # scaled down: what it held is lost
                answer_all(rows, torchserve_error(*BATCH_FAILURES["die"]))
                raise
            for row in rows:
                if row.window is not None and self.starves(row.window):
                    row.good = refusal(Overloaded(NO_MEMORY))
            answer_all(rows, failure)
            if failure is not None and b"Worker died" in failure.body:
                self.deaths += 1
                await asyncio.sleep(self.restart_s)

    async def _collect(self) -> list[Row]:
        rows = [await self._queue.get()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.max_batch_delay_s):
                while len(rows) < self.batch_size:
                    rows.append(await self._queue.get())
        return rows

    def _batch_failure(self, windows: list[Window]) -> Answer | None:
        if any(self.poison(window) for window in windows):
            return torchserve_error(*BATCH_FAILURES["die"])
        kind = next((kind for kind in BATCH_FAILURES if windows and self._due(kind)), None)
        return None if kind is None else torchserve_error(*BATCH_FAILURES[kind])

    def _due(self, kind: str) -> bool:
        if self._failures[kind] <= 0:
            return False
        self._failures[kind] -= 1
        return True

    # ---- HTTP

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b"".join([chunk async for chunk in _body(receive)])
        if scope["method"] == "PUT":
            answer: Answer | None = await self._scale(scope["path"], scope["query_string"].decode())
        else:
            answer = await self._route(scope["path"], dict(scope["headers"]), body)
        if answer is None:  # uvicorn cuts the connection of an answer that does not go on
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            return
        headers = [(b"content-type", JSON.encode())]
        if answer.status >= 400:
            headers.append((b"connection", b"close"))  # as TorchServe does
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _route(self, path: str, headers: dict[bytes, bytes], body: bytes) -> Answer | None:
        if self.key is not None and headers.get(b"authorization") != f"Bearer {self.key}".encode():
            return torchserve_error(400, "InvalidKeyException", "Token Authorization failed.")
        if path == "/ping":
            return Answer(200, b'{"status": "Healthy"}')
        _, kind, model, *rest = [*path.split("/", 3), "", ""]
        if model not in self.models:
            return torchserve_error(404, "ModelNotFoundException", f"Model not found: {model}")
        if kind == "models":
            return Answer(200, json.dumps([self._description(model)]).encode())
        if model in self.without_workers:
            return torchserve_error(503, "ServiceUnavailableException", NO_WORKER)
        tail = rest[0].removeprefix("1.0/")
        if tail == "healthz":
            return await self._enqueue(None, Answer(200, b'{"status": "ok", "model": "fake"}'))
        if tail == "model":
            return await self._enqueue(None, Answer(200, json.dumps(self._model(model)).encode()))
        if tail == "windows":
            self.asked[model] += 1
            self.under_way[model] += 1
            answer = await self._take_window(body, model)
            self.under_way[model] -= 1
            return answer
        return torchserve_error(404, "ResourceNotFoundException", "Requested resource is not found")

    async def _scale(self, path: str, query: str) -> Answer:
        """Workers of one model: none, or as many as the server has."""
        model = path.rpartition("/")[2]
        workers = int(dict(pair.split("=") for pair in query.split("&"))["min_worker"])
        self.scaled.append((model, workers))
        if workers == 0:
            self.lost[model] += self.under_way[model]
            self.without_workers.add(model)
            return Answer(200, b"{}")
        await asyncio.sleep(self.load_s)
        if model in self.fails_to_load:
            return torchserve_error(500, "InternalServerException", "Failed to start workers for model")
        self.without_workers.discard(model)
        return Answer(200, b"{}")

    async def _take_window(self, body: bytes, model: str) -> Answer | None:
        try:
            window = messages.decode_window(body)
        except AsrError as error:
            return refusal(error)
        self.num_windows += 1
        _, hypothesis = self.unlike.get(model, (None, self.hypothesis))
        if self.keep_windows:
            self.windows.append(window)
        kind = next((kind for kind in WINDOW_FAILURES if self._due(kind)), None)
        if kind == "hang":
            await asyncio.Event().wait()
        if kind in ("reset", "busy"):
            return torchserve_error(503, "ServiceUnavailableException", NO_WORKER) if kind == "busy" else None
        good = {
            "garbage": Answer(200, b'{"tokens": "no hypothesis"}'),
            "endless": Answer(200, b"[" * (20 * messages.MAX_HYPOTHESIS_BYTES)),
            "refused": refusal(EngineFailure("the engine broke on this window")),
            "overloaded": refusal(Overloaded(NO_MEMORY)),
        }.get(kind or "", Answer(200, messages.encode_hypothesis(hypothesis(window))))
        return await self._enqueue(window, good)

    async def _enqueue(self, window: Window | None, good: Answer) -> Answer:
        row = Row(window, good, asyncio.get_running_loop().create_future())
        if self.workers == 0 or self._queue.full():
            return torchserve_error(503, "ServiceUnavailableException", NO_WORKER)
        self._queue.put_nowait(row)
        return await row.answer

    def _model(self, model: str) -> dict[str, Any]:
        spec, _ = self.unlike.get(model, (self.spec, None))
        facts = {"max_batch_size": self.batch_size, "sha256": "fake", "runs_on": "nothing"}
        return {"object": "model", **dataclasses.asdict(spec), **facts}

    def _description(self, model: str) -> dict[str, Any]:
        ids = range(9000, 9000 + (0 if model in self.without_workers else self.workers))
        workers = [{"id": str(number), "status": "READY", "gpu": False} for number in ids]
        return {"modelName": model, "batchSize": self.batch_size, "workers": workers}


async def _body(receive: Receive) -> Any:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)
