"""The systems that are compared, each a server on a free port with the same route, all in one context."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.faults.stack import Gateway
from tests.processes import started
from tests.servers import free_ports, start_server

HERE = Path(__file__).resolve().parent
READY_S = 300.0
AVX2_LIBRARY = "AVX2_ONLY"  # see avx2_only.c

OURS: Mapping[str, Mapping[str, Any]] = {  # name → what differs from the shipped engine settings
    "ours": {},
    "ours-30s": {"full_windows": True},
    "ours-short": {"full_windows": False},
    "ours-onnxruntime-30s": {"backend": "onnxruntime", "full_windows": True},
    "ours-onnxruntime": {"backend": "onnxruntime", "full_windows": False},
    "ours-onnxruntime-int8": {
        "backend": "onnxruntime", "compute_type": "weights_int8", "full_windows": False,
    },
    "ours-torch-float32": {"backend": "torch", "precision": "float32", "full_windows": False},
    "ours-ctranslate2-int8": {"backend": "ctranslate2", "compute_type": "int8", "full_windows": False},
}  # fmt: skip
CTRANSLATE2 = ("faster-whisper-int8", "faster-whisper-float32", "faster-whisper-batched-int8",
               "faster-whisper-batched-float32")  # fmt: skip
OTHERS = (*CTRANSLATE2, "openai-whisper", "whisper.cpp")


@dataclass(frozen=True, slots=True)
class Setup:
    """What all systems have in common."""

    checkpoint: Path  # OpenAI's format
    ct2_folder: Path  # the same weights as faster-whisper reads them
    threads: int
    work: Path
    is_avx2_only: bool


@dataclass(frozen=True, slots=True)
class Running:
    """A system that answers."""

    name: str
    url: str
    pids: tuple[int, ...]  # the processes that hold a model

    def peak_mb(self) -> float:
        """Largest resident set of its models' processes together, in MB."""
        return sum(_peak_kb(pid) for pid in self.pids) / 1_000


@contextmanager
def running(name: str, setup: Setup) -> Iterator[Running]:
    """The system, loaded; it is ended with the block."""
    folder = setup.work / name
    folder.mkdir(parents=True, exist_ok=True)
    environment = _avx2_environment(setup.work) if setup.is_avx2_only else {}
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)  # start_server hands its own environment on
    try:
        with _ours(name, setup, folder) if name in OURS else _other(name, setup, folder) as made:
            yield made
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


@contextmanager
def _ours(name: str, setup: Setup, folder: Path) -> Iterator[Running]:
    engine = {"device": "cpu", "threads": setup.threads, **OURS[name]}
    server = start_server(setup.checkpoint, folder, model_config={"handler": {"engine": engine}})
    try:
        gateway = Gateway(folder, [server])
        try:
            gateway.wait_until(gateway.is_ready, "ready")
            yield Running(name, gateway.url, tuple(server.worker_pids()))
        finally:
            gateway.stop()
    finally:
        server.stop()


@contextmanager
def _other(name: str, setup: Setup, folder: Path) -> Iterator[Running]:
    [port] = free_ports(1)
    model = setup.ct2_folder if name in CTRANSLATE2 else setup.checkpoint
    command = [
        sys.executable,
        str(HERE / "simple_server.py"),
        name,
        str(model),
        str(setup.threads),
        str(port),
    ]
    with (folder / "log").open("wb") as log, started(command, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, folder / "log")
        yield Running(name, url, (process.pid,))


def _wait(url: str, process: subprocess.Popen[Any], log: Path) -> None:
    give_up = time.monotonic() + READY_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"it ended: {log.read_text()[-1000:]}")
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"not ready within {READY_S:g} s: {log.read_text()[-1000:]}")


def _avx2_environment(work: Path) -> dict[str, str]:
    """What makes the processes with a model see a processor without AVX-512 and AMX."""
    library = work / "avx2_only.so"
    if not library.exists():
        compiler = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "avx2_only.c")]
        subprocess.run(compiler, check=True)
    return {"LD_PRELOAD": str(library), AVX2_LIBRARY: "model_service_worker,simple_server"}


def _peak_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
