"""ONNX Runtime's sessions: provider, threads, options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asr.audio.onnx_runtime import onnxruntime
from asr.config import ConfigError

if TYPE_CHECKING:
    import torch

# Only the first has been run.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
# Between the short operators of a decode step a waiting thread looks for work at full speed for this time,
# then sleeps: enough on quiet cores, and on busy ones it gives its core back. base, windows of 10 s, batch 1,
# two threads of two cores, seconds at the quietest and in the median beside four busy processes: 0.47 and 1.2
# with 20 µs, 0.54 and 1.4 with ONNX Runtime's own duration, 0.59 and 1.0 without.
SPIN_US = 20
PACKAGES = {"cuda": "onnxruntime-gpu", "tensorrt": "onnxruntime-gpu", "openvino": "onnxruntime-openvino"}


def provider_of(wanted: str, device: torch.device) -> str:
    """ONNX Runtime's name of the provider; raises ConfigError where this installation lacks it."""
    name = device.type if wanted == "auto" else wanted
    if PROVIDERS[name] not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"engine.provider is {name!r}, which this installation of onnxruntime lacks: "
            f"install {PACKAGES.get(name, 'onnxruntime')} in its place, or use cpu"
        )
    return PROVIDERS[name]


def opened(graph: Path, provider: str, threads: int, *, spins: bool) -> onnxruntime.InferenceSession:
    """A session over a graph.

    spins: threads wait for work at full speed for SPIN_US. That pays where operators are many and short.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # its plans lie beside the arena: 65 MB more for base, and no faster
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    providers = [provider] if provider == PROVIDERS["cpu"] else [provider, PROVIDERS["cpu"]]
    session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
    if provider not in session.get_providers():  # it falls back without an error
        raise ConfigError(f"onnxruntime could not start {provider}: see its lines above")
    return session
