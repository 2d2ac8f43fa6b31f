"""The engine on ONNX Runtime: float32, token for token openai-whisper's, fast on processors without AMX."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from asr.config import ConfigError, EngineConfig
from asr.engines.base import BaseEngine
from asr.engines.checkpoints.checkpoint import Checkpoint, load_checkpoint
from asr.engines.checkpoints.converted import Format, converted_model
from asr.engines.decoding.pipeline import BatchSettings, Pipeline
from asr.engines.device import Placement, cpu_threads, encoder_batch, is_out_of_memory, placement
from asr.engines.memory_plan import available_bytes, check_fits, memory_plan, most_rows
from asr.engines.ort.ort_network import OrtNetwork, Sessions
from asr.engines.ort.sessions import opened, provider_of

logger = logging.getLogger(__name__)

LAYOUT = 4  # raised when graphs.py writes something else for the same checkpoint
ENCODER, CROSSING, DECODER = "encoder.onnx", "crossing.onnx", "decoder.onnx"  # the decoder is written last
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory", "CUDA out of memory")


class OrtEngine(BaseEngine):
    """Decodes with graphs that are written from the checkpoint."""

    def __init__(self, config: EngineConfig, gpu_id: int | None = None) -> None:
        """Raises ConfigError when a package, the provider or the number format is missing here."""
        super().__init__(config)
        if config.precision not in ("auto", "float32"):
            raise ConfigError(
                f"engine.precision is {config.precision!r}, but backend 'onnxruntime' computes in float32: "
                "use auto or float32"
            )
        device = placement(config, gpu_id).device
        self._placement = Placement(device, torch.float32)
        self._provider = provider_of(config.provider, device)

    def load(self) -> None:
        config, place = self._config, self._placement
        checkpoint = load_checkpoint(config.model, config.adapter)
        threads = cpu_threads(config)
        # torch only applies the rules to logits here; a second thread of it would spin on a core that
        # ONNX Runtime's threads need (base, two cores, one window: 2.3 s instead of 1.4)
        torch.set_num_threads(1)
        together = encoder_batch(config, place, threads)
        available = available_bytes(place.device)
        needed = memory_plan(checkpoint.dims, place, config.max_batch_size, together)
        check_fits(needed, available)
        folder = converted_model(checkpoint, config.sources, _format(checkpoint, eight_bits=self._eight_bits))
        checkpoint = replace(checkpoint, state={})  # the graphs hold the weights: twice would be the peak
        sessions = Sessions(
            opened(folder / ENCODER, self._provider, threads, spins=False),
            opened(folder / CROSSING, self._provider, threads, spins=False),
            opened(folder / DECODER, self._provider, threads, spins=config.spinning == "auto"),
        )
        settings = BatchSettings(config.max_batch_size, together, config.deterministic, config.loop_guard)
        pipeline = Pipeline(checkpoint, OrtNetwork(checkpoint, place, sessions), place, settings)
        rows = most_rows(needed, available, place, deterministic=config.deterministic)
        self._ready(checkpoint, pipeline, rows, place.device)
        logger.info("model %s on %s, %d threads: %s", checkpoint.name, self.description, threads, needed)

    @property
    def description(self) -> str:
        numbers = "weights_int8" if self._eight_bits else "float32"
        return f"{self._placement.device} onnxruntime {numbers}"

    def is_out_of_memory(self, error: Exception) -> bool:
        # torch allocates the caches, ONNX Runtime what lies between
        return is_out_of_memory(error) or any(sign in str(error) for sign in OUT_OF_MEMORY)

    @property
    def _eight_bits(self) -> bool:
        return self._config.compute_type == "weights_int8"


def _format(checkpoint: Checkpoint, *, eight_bits: bool) -> Format:
    folder = "onnxruntime-weights8" if eight_bits else "onnxruntime"
    return Format(folder, LAYOUT, DECODER, partial(_write, checkpoint, eight_bits))


def _write(checkpoint: Checkpoint, eight_bits: bool, folder: Path) -> None:
    """Both graphs, the decoder's in its number format; raises ConfigError without the onnx package."""
    try:
        graphs = import_module("asr.engines.ort.graphs")
    except ImportError as error:
        raise ConfigError(
            f"backend 'onnxruntime' writes its graphs with the onnx package, which is missing ({error}): "
            "pip install -r requirements.txt, or set engine.backend to 'torch'"
        ) from error
    graphs.write_encoder(checkpoint, folder / ENCODER)
    graphs.write_crossing(checkpoint, folder / CROSSING)
    graphs.write_decoder(checkpoint, folder / DECODER, eight_bits=eight_bits)
