"""One TorchServe server over HTTP: its model, its health, its workers, and windows decoded by it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from asr.engine import ModelSpec
from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis, Window
from asr.wire import messages
from gateway.settings import UpstreamSettings
from gateway.torchserve.failures import Cut, KeyRefused, NotDecoded, Unreachable, WorkerDied, failure
from gateway.torchserve.http_client import Broken, HttpClient, NoConnection, TooLong

VERSION = "1.0"  # of the model, in TorchServe's paths; the archive's
CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = messages.MAX_HYPOTHESIS_BYTES + 65_536  # with the head; TorchServe's own are shorter
ASK_TIMEOUT_S = 30.0  # of requests other than windows; each waits behind the windows in the queue
SCALING = 206  # some of the workers are not there yet
BINARY = {"Content-Type": "application/octet-stream"}
START_HEADER = "X-Request-Start"  # tells the worker how long a window waited for it


@dataclass(frozen=True, slots=True)
class Description:
    """An upstream's model."""

    spec: ModelSpec
    max_batch_size: int
    # encoder frames → windows of this length that share a batch; empty: always `max_batch_size`
    batch_sizes: Mapping[int, int] = field(default_factory=dict)

    @property
    def most_together(self) -> int:
        """Windows in the largest batch, which is one of short windows."""
        return max(self.batch_sizes.values(), default=self.max_batch_size)

    def places(self, frames: int) -> float:
        """How many of a batch's `max_batch_size` places a window takes; long ones take several on a CPU."""
        longer = min((known for known in self.batch_sizes if known >= frames), default=None)
        return 1.0 if longer is None else self.max_batch_size / self.batch_sizes[longer]


def upstreams(settings: UpstreamSettings) -> list[TorchServeUpstream]:
    """The servers that the settings name; they share one HTTP client."""
    client = HttpClient(CONNECT_TIMEOUT_S, MAX_ANSWER_BYTES)
    managements = itertools.chain(map(str, settings.management_urls), itertools.repeat(None))
    return [
        TorchServeUpstream(str(url), settings, client, management)
        for url, management in zip(settings.urls, managements, strict=False)
    ]


class TorchServeUpstream:
    """One server. Its methods raise nothing but NotDecoded and the AsrError that the handler answered."""

    def __init__(
        self,
        url: str,
        settings: UpstreamSettings,
        client: HttpClient,
        management_url: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._predictions = f"{self.url}/predictions/{settings.model}/{VERSION}"
        self._management = f"{management_url.rstrip('/')}/models/{settings.model}" if management_url else None
        self._key_file = settings.key_file
        self._keys: dict[str, str] = {}  # "inference" and "management", as last read
        self._client = client
        self._timeout_s = settings.timeout_s

    async def describe(self) -> Description:
        """The model that the upstream serves."""
        facts = _object(await self._get(f"{self._predictions}/model"))
        try:
            known = {each.name: facts[each.name] for each in fields(ModelSpec) if each.name in facts}
            if isinstance(known.get("languages"), list):  # JSON has no tuples
                known["languages"] = tuple(known["languages"])
            sizes = {int(frames): max(1, int(size)) for frames, size in facts.get("batch_sizes", {}).items()}
            return Description(ModelSpec(**known), int(facts["max_batch_size"]), sizes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Unreachable(f"{self.url} does not describe a model: {error!r}") from error

    async def healthz(self, timeout_s: float = ASK_TIMEOUT_S) -> bool:
        """Whether a worker answers. The request passes TorchServe's queue like a window."""
        try:
            await self._get(f"{self._predictions}/healthz", timeout_s=timeout_s)
        except (NotDecoded, AsrError):
            return False
        return True

    async def workers(self) -> int | None:
        """The number of ready workers; None without a management address or an answer from it."""
        states = await self.worker_states()
        return None if states is None else states.count("READY")

    async def worker_states(self) -> list[str] | None:
        """The state of every worker that TorchServe keeps, dead ones that it starts again included."""
        if self._management is None:
            return None
        try:
            [description, *_] = json.loads(await self._get(self._management, api="management"))
            return [str(worker["status"]) for worker in description["workers"]]
        except (NotDecoded, AsrError, ValueError, TypeError, KeyError):
            return None

    async def scale(self, workers: int, timeout_s: float) -> None:
        """Returns once there are `workers` workers; 0 ends them all, whatever they decode."""
        if self._management is None:
            raise Unreachable(f"{self.url} has no management address")
        url = f"{self._management}?min_worker={workers}&max_worker={workers}&synchronous=true"
        await self._send("PUT", url, "management", timeout_s, b"")

    async def decode(self, window: Window) -> Hypothesis:
        """The window, decoded."""
        url = f"{self._predictions}/windows"
        response = await self._send("POST", url, "inference", self._timeout_s, messages.encode_window(window))
        try:
            return messages.decode_hypothesis(response)
        except EngineFailure as error:  # a broken worker, or no Whisper handler: try again
            raise WorkerDied(str(error)) from error

    def close(self) -> None:
        """Closes the idle connections."""
        self._client.close()

    async def _get(self, url: str, *, api: str = "inference", timeout_s: float = ASK_TIMEOUT_S) -> bytes:
        return await self._send("GET", url, api, timeout_s, b"")

    async def _send(self, method: str, url: str, api: str, timeout_s: float, body: bytes) -> bytes:
        """The body of an answer 200. TorchServe rotates its keys, so a refused key is read again once."""
        for is_last in (False, True):
            key = await self._key(api)
            headers = {**BINARY, START_HEADER: f"{time.time():.3f}"}
            if key:
                headers["Authorization"] = f"Bearer {key}"
            try:
                answer = await self._client.request(method, url, headers, body, timeout_s)
            except NoConnection as error:
                raise Unreachable(f"{url}: {error}") from error
            except Broken as error:
                raise Cut(f"{url}: {error}") from error
            except TooLong as error:  # like an answer that is no hypothesis: try again
                raise WorkerDied(f"{url}: {error}") from error
            if answer.status in (200, SCALING):
                return answer.body
            problem = failure(answer.status, answer.body)
            if is_last or self._key_file is None or not isinstance(problem, KeyRefused):
                raise problem
            self._keys.pop(api, None)
        raise AssertionError("the second attempt returns or raises")

    async def _key(self, api: str) -> str | None:
        if self._key_file is None:
            return None
        if api not in self._keys:
            self._keys[api] = await asyncio.to_thread(read_key, self._key_file, api)
        return self._keys[api]


def read_key(key_file: Path, api: str) -> str:
    """The key that TorchServe wrote for "inference" or "management"."""
    try:
        return str(json.loads(key_file.read_text(encoding="utf-8"))[api]["key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"no {api} key in {key_file}: {error!r}") from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Unreachable(f"the answer is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Unreachable("the answer is not a JSON object")
    return value
