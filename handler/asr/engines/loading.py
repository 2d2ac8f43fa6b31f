"""The engine of a configuration, ready to decode."""

from __future__ import annotations

from asr.config import EngineConfig
from asr.engines.torch_engine import TorchEngine


def load_engine(config: EngineConfig, gpu_id: int | None = None) -> TorchEngine:
    """A loaded and warmed-up engine; raises ConfigError when the configuration cannot be used.

    gpu_id: the GPU TorchServe gave this worker, None or negative without one.
    """
    engine = TorchEngine(config, gpu_id)
    engine.load()
    if config.warm_up:
        engine.warm_up()
    return engine
