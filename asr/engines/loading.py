"""The engine of a configuration, ready to decode. A backend is imported when it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from asr.checkpoint_files import Kind, kind_of
from asr.config import COMPUTE_TYPES, ConfigError, EngineConfig
from asr.engine import Engine
from asr.engines.device import placement
from asr.engines.tuning import tuned_config

logger = logging.getLogger(__name__)


class LoadableEngine(Engine, Protocol):
    """An engine that is made cheaply and loaded then."""

    def load(self) -> None:
        """Read the weights; raises ConfigError when they are unusable or the batch cannot fit."""

    def warm_up(self) -> None:
        """Decode once, so that the first request pays for nothing."""


Backend = Callable[[EngineConfig, int | None], LoadableEngine]


def _torch(config: EngineConfig, gpu_id: int | None) -> LoadableEngine:
    from asr.engines.pytorch.torch_engine import TorchEngine

    return TorchEngine(config, gpu_id)


def _ctranslate2(config: EngineConfig, gpu_id: int | None) -> LoadableEngine:
    from asr.engines.ctranslate2.ctranslate2_engine import CTranslate2Engine

    return CTranslate2Engine(config, gpu_id)


def _onnxruntime(config: EngineConfig, gpu_id: int | None) -> LoadableEngine:
    from asr.engines.ort.ort_engine import OrtEngine

    return OrtEngine(config, gpu_id)


def _sherpa(config: EngineConfig, _gpu_id: int | None) -> LoadableEngine:
    from asr.engines.sherpa.sherpa_engine import SherpaEngine

    return SherpaEngine(config)


BACKENDS: Mapping[str, Backend] = {
    "torch": _torch,
    "ctranslate2": _ctranslate2,
    "onnxruntime": _onnxruntime,
}


def load_engine(config: EngineConfig, gpu_id: int | None = None) -> LoadableEngine:
    """A loaded and warmed-up engine; raises ConfigError when the configuration cannot be used.

    gpu_id: the GPU TorchServe gave this worker, None or negative without one.
    """
    if is_beside_whisper(config):  # whose backend is its own, whatever Whisper's is
        return _ready(config, _sherpa, gpu_id)
    if config.backend != "auto":
        return _ready(config, BACKENDS[config.backend], gpu_id)
    if (tuned := tuned_config(config, placement(config, gpu_id).device)) is not None:
        try:
            return _ready(tuned, BACKENDS[tuned.backend], gpu_id)
        except ConfigError as error:  # its package is gone, for example
            logger.warning("the settings measured on this machine cannot be used: %s", error)
    if is_torch_best(config, gpu_id):
        return _ready(config, _torch, gpu_id)
    try:
        chosen = replace(config, backend="onnxruntime", compute_type=onnxruntime_numbers(config))
        return _ready(chosen, _onnxruntime, gpu_id)
    except ConfigError as error:
        # its graphs cannot be written here, for example: torch needs nothing but the checkpoint
        logger.warning("backend onnxruntime cannot be used, torch takes its place: %s", error)
        return _ready(config, _torch, gpu_id)


def is_beside_whisper(config: EngineConfig) -> bool:
    """Whether the model is of another family, by the settings or by its files."""
    if config.family == "auto":
        return kind_of(Path(config.model)) is Kind.SHERPA
    return config.family != "whisper"


def is_torch_best(config: EngineConfig, gpu_id: int | None) -> bool:
    """Whether torch computes in 16 bits; in float32 ONNX Runtime is faster on every CPU that was tried."""
    place = placement(config, gpu_id)
    return place.is_cuda or place.dtype != torch.float32


def onnxruntime_numbers(config: EngineConfig) -> COMPUTE_TYPES:
    """The number format of `auto`: the decoder's weights in eight bits, unless the settings say float32."""
    return "weights_int8" if config.precision == "auto" else "float32"


def _ready(config: EngineConfig, make: Backend, gpu_id: int | None) -> LoadableEngine:
    engine = make(config, gpu_id)
    engine.load()
    if config.warm_up:
        engine.warm_up()
    return engine
