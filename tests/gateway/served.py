"""The gateway in a thread of its own, on a free port, as a client meets it."""

from __future__ import annotations

import asyncio
import faulthandler
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import uvicorn

from gateway.app import create_app
from gateway.realtime.client_events import MAX_FRAME_BYTES
from gateway.service import Service
from gateway.settings import Settings

START_TIMEOUT_S = 30


class Upstream(Protocol):
    """A TorchServe, real or fake."""

    @property
    def url(self) -> str: ...
    @property
    def management_url(self) -> str: ...


def settings_for(upstream: Upstream, spool_dir: Path, /, **sections: dict[str, Any]) -> Settings:
    """Settings of a gateway before `upstream`; `sections` are laid over, key by key."""
    values: dict[str, dict[str, Any]] = {
        "upstream": {"urls": [upstream.url], "management_urls": [upstream.management_url]},
        "media": {"processes": 1, "spool_dir": spool_dir},
    }
    for section, given in sections.items():
        values[section] = values.get(section, {}) | given
    return Settings(**values)  # type: ignore[arg-type]


class Gateway:
    """A running gateway; a context manager."""

    def __init__(self, settings: Settings, *, wait: bool = True, **uvicorn_options: Any) -> None:
        self.settings = settings
        self.service = Service(settings)
        self.app = create_app(self.service)
        self._wait = wait
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self.app,
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            access_log=False,
            ws_max_size=MAX_FRAME_BYTES,
            timeout_graceful_shutdown=5,
            **uvicorn_options,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)

    @property
    def uploads(self) -> list[Path]:
        """Upload files that are on disk now."""
        spool_dir = self.settings.media.spool_dir
        assert spool_dir is not None
        return sorted(spool_dir.iterdir())

    def wait_for_all_models(self) -> None:
        """Returns when a worker of each model has answered."""
        models = self.service.fleet.models.values()
        self._until(lambda: all(model.state == "ready" for model in models), "a model is not ready")

    def __enter__(self) -> Gateway:
        self._thread.start()
        self._until(lambda: self._server.started, "the gateway did not start")
        if self._wait:
            self._until(lambda: self.service.fleet.ready, "no upstream answered")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(START_TIMEOUT_S)
        if self._thread.is_alive():
            faulthandler.dump_traceback(sys.__stderr__)
            raise AssertionError("the gateway did not stop")

    def _until(self, reached: Any, complaint: str) -> None:
        give_up = time.monotonic() + START_TIMEOUT_S
        while not reached():
            if time.monotonic() > give_up or not self._thread.is_alive():
                raise RuntimeError(complaint)
            time.sleep(0.005)
