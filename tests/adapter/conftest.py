"""A worker around the handler and an engine that echoes its audio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter import startup
from tests.adapter.worker import EchoEngine, Worker
from whisper_handler import WhisperHandler


@pytest.fixture
def engine() -> EchoEngine:
    return EchoEngine()


@pytest.fixture
def start_worker(
    monkeypatch: pytest.MonkeyPatch,
    engine: EchoEngine,
    tmp_path: Path,
) -> Callable[..., Worker]:
    """`start_worker(limits={…}, log_text=True)`: a loaded worker."""
    checkpoint = tmp_path / "echo.pt"
    checkpoint.write_bytes(b"weights")
    monkeypatch.setattr(startup, "load_engine", lambda config, gpu_id: engine)

    def start(**section: Any) -> Worker:
        return Worker(WhisperHandler(), {"handler": {"engine": {"model": str(checkpoint)}, **section}})

    return start


@pytest.fixture
def worker(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker()
