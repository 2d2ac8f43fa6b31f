"""TorchServe and a gateway as serve.sh starts them, and what their processes take."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.live.faults.stack import Gateway
from tests.servers import Server, start_server


@contextmanager
def serving(
    model: Path, folder: Path, model_config: dict[str, Any], **settings: str
) -> Iterator[tuple[Server, Gateway]]:
    """Both, ready. model_config: over config/model-config.yaml; settings: the gateway's, as variables of its
    environment.
    """
    server = start_server(model, folder / "server", model_config=model_config)
    try:
        gateway = Gateway(folder, [server], **settings)
        try:
            gateway.wait_until(gateway.is_ready, "ready")
            yield server, gateway
        finally:
            gateway.stop()
    finally:
        server.stop()


def cpu_s(pids: Sequence[int]) -> float:
    """Processor seconds of these processes so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024
