"""The engine of a configuration, ready to decode. A backend is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from asr.config import EngineConfig
from asr.engines.base import BaseEngine

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


BACKENDS: Mapping[str, Backend] = {"torch": _torch, "ctranslate2": _ctranslate2, "onnxruntime": _onnxruntime}


def load_engine(config: EngineConfig, gpu_id: int | None = None) -> BaseEngine:
    """A loaded and warmed-up engine; raises ConfigError when the configuration cannot be used.

    gpu_id: the GPU TorchServe gave this worker, None or negative without one.
    """
    engine = BACKENDS[config.backend](config, gpu_id)
    engine.load()
    if config.warm_up:
        engine.warm_up()
    return engine
