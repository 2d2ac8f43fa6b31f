"""The start of a worker: configuration, model, and the facts that are logged once."""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adapter.json_log import log_event
from asr.audio.windows import ENCODER_FRAMES
from asr.checkpoint_files import sha256_of
from asr.config import ConfigError, HandlerConfig
from asr.constants import WINDOW_FRAMES
from asr.engine import Engine
from asr.engines import load_engine

SECTION = "handler"
PACKAGES = ("torch", "torchserve", "openai-whisper", "numpy", "av", "onnxruntime", "sherpa-onnx")
SHA256_PREFIX_CHARS = 12


@dataclass(frozen=True, slots=True)
class LoadedService:
    """All that a worker has from its start to its end."""

    config: HandlerConfig
    engine: Engine
    model: dict[str, Any]  # the answer of the path `model`


def start(model_yaml: Any, gpu_id: int | None) -> LoadedService:
    """The loaded service, its facts logged; raises ConfigError, or an error of loading the checkpoint."""
    log_event("starting", gpu_id=gpu_id, **environment())
    started = time.monotonic()
    try:
        config = read_config(model_yaml)
        with ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:  # while the model loads
            digest = pool.submit(sha256_prefix, config.engine.sources)
            engine = load_engine(config.engine, gpu_id)
            sha256 = digest.result()
    except Exception as error:
        log_event("not_started", logging.ERROR, why=str(error))  # a line before TorchServe's traceback
        raise
    model = {
        "object": "model",
        **dataclasses.asdict(engine.spec),
        "max_batch_size": engine.max_batch_size,
        "batch_sizes": {frames: engine.most_together(frames) for frames in (*ENCODER_FRAMES, WINDOW_FRAMES)},
        "sha256": sha256,
        "runs_on": engine.description,
    }
    log_event("ready", **model, load_s=round(time.monotonic() - started, 3))
    return LoadedService(config, engine, model)


def read_config(model_yaml: Any) -> HandlerConfig:
    """Our section of model-config.yaml; raises ConfigError, which stops the worker with its message."""
    if not isinstance(model_yaml, Mapping) or SECTION not in model_yaml:
        raise ConfigError(
            f"model-config.yaml has no `{SECTION}:` section; it must name at least {SECTION}.engine.model"
        )
    return HandlerConfig.from_mapping(model_yaml[SECTION])


def sha256_prefix(sources: Sequence[Path]) -> str | None:
    """The first characters of the weights' SHA-256 in hex; None if a file of them cannot be read."""
    try:
        return sha256_of(sources).hexdigest()[:SHA256_PREFIX_CHARS]
    except OSError:
        return None


def environment() -> dict[str, Any]:
    """Interpreter, machine and the versions of the packages that answers depend on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "worker_pid": os.getpid(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
