"""The engine of a configuration, ready to decode."""

from __future__ import annotations

from asr.config import EngineConfig
from asr.engines.ctranslate2.ctranslate2_engine import CTranslate2Engine
from asr.engines.pytorch.torch_engine import TorchEngine


def load_engine(config: EngineConfig, gpu_id: int | None = None) -> TorchEngine | CTranslate2Engine:
    """A loaded and warmed-up engine; raises ConfigError when the configuration cannot be used.

    gpu_id: the GPU TorchServe gave this worker, None or negative without one.
    """
    kind = CTranslate2Engine if config.backend == "ctranslate2" else TorchEngine
    engine: TorchEngine | CTranslate2Engine = kind(config, gpu_id)
    engine.load()
    if config.warm_up:
        engine.warm_up()
    return engine
