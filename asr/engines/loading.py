"""The engine of a configuration, ready to decode. A backend is imported when it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch

from asr.config import ConfigError, EngineConfig
from asr.engines.base import BaseEngine
from asr.engines.device import placement

logger = logging.getLogger(__name__)

Backend = Callable[[EngineConfig, int | None], BaseEngine]


def _torch(config: EngineConfig, gpu_id: int | None) -> BaseEngine:
    from asr.engines.pytorch.torch_engine import TorchEngine

    return TorchEngine(config, gpu_id)


def _ctranslate2(config: EngineConfig, gpu_id: int | None) -> BaseEngine:
    from asr.engines.ctranslate2.ctranslate2_engine import CTranslate2Engine

    return CTranslate2Engine(config, gpu_id)


def _onnxruntime(config: EngineConfig, gpu_id: int | None) -> BaseEngine:
    from asr.engines.ort.ort_engine import OrtEngine

    return OrtEngine(config, gpu_id)


def _auto(config: EngineConfig, gpu_id: int | None) -> BaseEngine:
    """What measures best where the model runs, in the number format that the configuration asks for.

    torch where it computes in 16 bits; in float32 ONNX Runtime is faster on every CPU that was tried.
    """
    place = placement(config, gpu_id)
    is_short = place.is_cuda or place.dtype != torch.float32
    return (_torch if is_short else _onnxruntime)(config, gpu_id)


BACKENDS: Mapping[str, Backend] = {
    "auto": _auto,
    "torch": _torch,
    "ctranslate2": _ctranslate2,
    "onnxruntime": _onnxruntime,
}


def load_engine(config: EngineConfig, gpu_id: int | None = None) -> BaseEngine:
    """A loaded and warmed-up engine; raises ConfigError when the configuration cannot be used.

    gpu_id: the GPU TorchServe gave this worker, None or negative without one.
    """
    try:
        return _ready(config, BACKENDS[config.backend], gpu_id)
    except ConfigError as error:
        if config.backend != "auto":
            raise
        # its graphs cannot be written here, for example: torch needs nothing but the checkpoint
        logger.warning("the backend that auto chose cannot be used, torch takes its place: %s", error)
        return _ready(config, _torch, gpu_id)


def _ready(config: EngineConfig, make: Backend, gpu_id: int | None) -> BaseEngine:
    engine = make(config, gpu_id)
    engine.load()
    if config.warm_up:
        engine.warm_up()
    return engine
