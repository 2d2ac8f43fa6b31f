"""What each model's workers need in memory, and what is free: JSON in, JSON out.

    python -m scripts.serve.memory_needs < CONFIGS

A process of its own, because it imports torch, which serve.sh would hold for as long as it runs.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from asr.checkpoint_files import onnx_files
from asr.config import ConfigError, HandlerConfig
from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.engines.device import Placement, cpu_threads, encoder_batch, placement
from asr.engines.loading import is_beside_whisper, is_torch_best
from asr.engines.memory_plan import MIB, available_bytes, memory_plan

CPU = "cpu"
# of a window of 30 s in a batch of another family: a conformer CTC of 1.9 million parameters took 28 (batches
# of 16, one thread, 2026-11-30); larger ones take more
FAMILY_WINDOW_BYTES = 32 * MIB
# of a worker beside its model: Python, torch, ONNX Runtime and their buffers. A worker of base had 1.18 GB at
# its peak over a full batch (2 cores, ONNX Runtime); this and the plan are 1.16.
WORKER_BYTES = 450 * MIB


def needs_of(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Bytes of one worker by model and device, `{"needs": {"whisper": {"cpu": …}}, "free": {"cpu": …}}`.

    configs: each model's `handler:` section. A model that cannot be read is left out: its worker says why.
    """
    needs: dict[str, dict[str, int]] = {}
    for name, section in configs.items():
        try:
            needs[name] = _need(HandlerConfig.from_mapping(section))
        except ConfigError:
            continue
    devices = {CPU, *(device for need in needs.values() for device in need)}
    return {"needs": needs, "free": {device: _free(device) for device in sorted(devices)}}


def _need(config: HandlerConfig) -> dict[str, int]:
    engine = config.engine
    if is_beside_whisper(engine):
        files = sum(file.stat().st_size for file in onnx_files(Path(engine.model)) if file.is_file())
        # the library keeps the weights twice while it loads them
        return {CPU: WORKER_BYTES + 2 * files + engine.max_batch_size * FAMILY_WINDOW_BYTES}
    has_gpu = torch.cuda.is_available() and engine.device != CPU
    place = placement(engine, 0 if has_gpu else None)
    takes_quantised = engine.backend == "ctranslate2"
    checkpoint = load_checkpoint(engine.model, engine.adapter, takes_quantised=takes_quantised)
    is_torch = engine.backend == "torch" or (engine.backend == "auto" and is_torch_best(engine, 0))
    if not is_torch:  # the others keep float32 beside their weights
        place = Placement(place.device, torch.float32)
    together = encoder_batch(engine, place, cpu_threads(engine))
    plan = memory_plan(checkpoint.dims, place, engine.max_batch_size, together)
    need = Counter({CPU: WORKER_BYTES})
    need[place.device.type] += plan.total
    return dict(need)


def _free(device: str) -> int:
    if device == CPU:
        return available_bytes(torch.device(CPU))
    return sum(available_bytes(torch.device(device, index)) for index in range(torch.cuda.device_count()))


if __name__ == "__main__":
    print(json.dumps(needs_of(json.load(sys.stdin))))
