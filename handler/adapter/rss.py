"""How much memory this worker holds, for the log and the metrics."""

from __future__ import annotations

import psutil
import torch


def host_memory_bytes() -> int:
    """The worker's resident set."""
    return psutil.Process().memory_info().rss


def device_memory_bytes() -> int | None:
    """What this worker's allocator has reserved on all GPUs; None without one."""
    if not torch.cuda.is_available():
        return None
    return sum(torch.cuda.memory_reserved(device) for device in range(torch.cuda.device_count()))


def gpu_memory() -> dict[int, tuple[int, int]]:
    """Device → bytes used by all its processes, and bytes it has; only the devices this worker computes on,
    because to ask another would take memory there."""
    if not torch.cuda.is_available():
        return {}
    memory = {}
    for device in range(torch.cuda.device_count()):
        if torch.cuda.memory_reserved(device) > 0:
            free, total = torch.cuda.mem_get_info(device)
            memory[device] = (total - free, total)
    return memory
