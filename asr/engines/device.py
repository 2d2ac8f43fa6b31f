"""Where and how precisely the model runs: device, number format, CPU threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from asr.config import ConfigError, EngineConfig

CPU_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "DefaultCPUAllocator",
    "could not create a primitive",  # oneDNN's word for it
)
CUDA_ENCODER_WINDOWS = 8  # 12,000 rows in every product


@dataclass(frozen=True, slots=True)
class Placement:
    """The device, the number format of matrices, and that of the residual stream between layers."""

    device: torch.device
    dtype: torch.dtype

    @property
    def residual_dtype(self) -> torch.dtype:
        """bfloat16's 8 bits are too few to add up layer after layer; openai-whisper uses float16's 11."""
        return torch.float32 if self.dtype == torch.bfloat16 else self.dtype

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def __str__(self) -> str:
        return f"{self.device} {str(self.dtype).removeprefix('torch.')}"


def placement(config: EngineConfig, gpu_id: int | None) -> Placement:
    """Device and precision of a configuration; raises ConfigError when this machine cannot do it.

    gpu_id: TorchServe's, None or negative without a GPU.
    """
    device = _device(config.device, gpu_id)
    if config.precision != "auto":
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
            config.precision
        ]
        if device.type == "cpu" and dtype == torch.float16:
            raise ConfigError("engine.precision is 'float16', which CPUs lack: use float32, bfloat16 or auto")
        if device.type == "cpu" and dtype == torch.bfloat16 and not cpu_multiplies_bfloat16():
            raise ConfigError(
                "engine.precision is 'bfloat16', which takes AVX-512 or AMX and is ten times slower than "
                "float32 on this processor: use float32 or auto"
            )
        return Placement(device, dtype)
    if device.type == "cuda":
        return Placement(device, torch.float16)
    return Placement(device, torch.bfloat16 if cpu_has_bfloat16() else torch.float32)


def _device(wanted: str, gpu_id: int | None) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if wanted == "auto":
        use_gpu = has_gpu and gpu_id is not None and gpu_id >= 0
        return torch.device("cuda", gpu_id) if use_gpu and gpu_id is not None else torch.device("cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"engine.device is {wanted!r}, must be auto, cpu or cuda:<number>") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"engine.device is {wanted!r}, must be auto, cpu or cuda:<number>")
    if device.type == "cuda" and (device.index or 0) >= (torch.cuda.device_count() if has_gpu else 0):
        raise ConfigError(
            f"engine.device is {wanted!r}, but this machine has {torch.cuda.device_count()} GPUs"
        )
    return device


def cpu_multiplies_bfloat16() -> bool:
    """Whether oneDNN has products of bfloat16 here: it needs AVX-512, and ONEDNN_MAX_CPU_ISA may forbid that.

    Elsewhere torch's own loops do them: tiny's 1,536 x 384 MLP with 1,500 rows takes 176 ms by AVX2, 17 in
    float32.
    """
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def cpu_has_amx() -> bool:
    """Whether the processor multiplies bfloat16 tiles (AMX), where bfloat16 is 3 times float32."""
    return cpu_multiplies_bfloat16() and bool(torch.cpu._is_amx_tile_supported())


def cpu_has_bfloat16() -> bool:
    """Whether bfloat16 products are instructions here: AMX, or AVX-512's vectors (avx512_bf16).

    With the vectors alone bfloat16 halves the traffic and doubles the rate of products: at tiny on one thread
    of a busy Zen 5, 1.5 times float32 in the encoder, 1.6 in a decode step. Elsewhere it is emulated.
    """
    has_vectors = cpu_multiplies_bfloat16() and bool(torch.cpu._is_avx512_bf16_supported())
    return cpu_has_amx() or has_vectors


def encoder_batch(config: EngineConfig, placement: Placement, threads: int) -> int:
    """Windows that go through the encoder together.

    A window has 1,500 rows, enough to keep a few cores busy; more at once only leave the caches: 16 windows
    of tiny took 25 ms each for features and 584 for the encoder on one thread, one took 10 and 545. On CUDA
    a batch goes in groups too, so that the samples of one are staged and copied while another is encoded.
    """
    if config.deterministic:
        return 1  # the shapes depend on the window alone
    most = CUDA_ENCODER_WINDOWS if placement.is_cuda else max(1, threads // 4)
    return min(config.max_batch_size, most)


def cpu_threads(config: EngineConfig) -> int:
    """CPU threads of this worker: as configured, else its share of the cores it may run on."""
    if config.threads:
        return config.threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _cgroup_cores()) // config.workers)


@contextmanager
def torch_threads_kept() -> Iterator[int]:
    """torch's thread count, which is the same afterwards: for calls of what numba compiled.

    The first such call in a process starts numba's pool with one thread per core, and the OpenMP that it
    shares with torch takes that number over: several workers on one machine then decode ten times slower.
    """
    threads = torch.get_num_threads()
    yield threads
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _cgroup_cores(path: str = "/sys/fs/cgroup/cpu.max") -> int:
    """Whole cores that a container's quota allows; a large number where there is no quota."""
    try:
        with open(path) as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return 1_000_000
    return 1_000_000 if quota == "max" else max(1, int(quota) // int(period))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch means that memory ran out, on the GPU or the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in CPU_OUT_OF_MEMORY)
