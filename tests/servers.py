"""A real TorchServe for tests: the repository's configuration on free ports, by serve.sh's own modules."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from scripts.serve import archive, settings
from scripts.serve.addresses import Address, free_ports
from scripts.serve.arguments import parse_options
from scripts.serve.java import find_java
from scripts.serve.model_table import ModelRow
from scripts.serve.models import Weights
from scripts.serve.readiness import Probe, read_key, wait_until_ready
from scripts.serve.served_models import Served, for_torchserve, model_configs, on_demand_properties
from scripts.serve.settings import Paths
from scripts.serve.torchserve import Launch, TorchServe, group_members

ROOT = Path(__file__).resolve().parents[1]
WORKER_COMMAND = "model_service_worker.py"


@dataclass(frozen=True)
class Server:
    """A running server. `stop` ends it and fails the test if a process of it is left."""

    process: TorchServe
    url: str  # http://127.0.0.1:PORT of the inference API
    management: str
    metrics: str
    key_file: Path | None = None  # with token authorization

    @property
    def pid(self) -> int:
        """Of Java."""
        return self.process.pid

    @property
    def predictions(self) -> str:
        return f"{self.url}/predictions/whisper"

    @property
    def log_dir(self) -> Path:
        return self.process.paths.log_dir

    @property
    def model_log(self) -> Path:
        """What the workers print: one JSON line per request among it."""
        return self.log_dir / "model.log"

    @property
    def server_log(self) -> Path:
        return self.log_dir / "server.log"

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now, from /proc: the management API lags behind a crash."""
        return sorted(pid for pid in group_members(self.pid) if WORKER_COMMAND in command_line(pid))

    def describe(self, model: str = "whisper") -> dict[str, Any]:
        """A model's description by the management API: workers, their status, the job queue."""
        request = urllib.request.Request(
            f"{self.management}/models/{model}", headers=self.headers("management")
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            description: dict[str, Any] = json.loads(response.read())[0]
        return description

    def scale(self, workers: int, timeout_s: float = 120) -> None:
        """Sets the number of workers and returns when TorchServe says they are there."""
        url = f"{self.management}/models/whisper?min_worker={workers}&max_worker={workers}&synchronous=true"
        request = urllib.request.Request(url, method="PUT", headers=self.headers("management"))
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            response.read()

    def headers(self, api: str = "inference") -> dict[str, str]:
        """The key of "inference" or "management", where the server asks for one."""
        return {"Authorization": f"Bearer {read_key(self.key_file, api)}"} if self.key_file else {}

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends Java and its workers; raises AssertionError if one of them is still there."""
        temp_dir = self.process.temp_dir
        self.process.stop()
        assert group_members(self.pid) == [], "TorchServe left processes behind"
        assert not temp_dir.exists(), "TorchServe's temporary directory is still there"


def start_server(
    model_path: Path,
    tmp_path: Path,
    *,
    workers: int = 1,
    model_config: Mapping[str, Any] | None = None,
    on_demand: Mapping[str, Path] = MappingProxyType({}),
    beside: Mapping[str, ModelRow] = MappingProxyType({}),
    properties: Mapping[str, str] | None = None,
    token_auth: bool = False,
    sample: Path | None = None,
    handler_dir: Path = ROOT / "handler",
    timeout_s: float = 180,
) -> Server:
    """A server of `model_path` that is ready; raises ServeError with the reason if it does not get there.

    `on_demand` are further models by their names, which have no worker at first; `beside` are rows of
    config/models.yaml, with paths that are absolute. `model_config` is laid over
    config/model-config.yaml key by key, nested: {"batchSize": 4, "handler": {"engine": {"precision":
    "float32"}}}; `properties` over config.properties. Ready means that `sample` was transcribed, or, without
    one, that the canary `…/1.0/healthz` was answered. Everything it writes is below `tmp_path`.
    """
    ports = free_ports(5)
    paths = Paths(
        root=ROOT,
        config_dir=ROOT / "config",
        handler_dir=handler_dir,
        model_store=tmp_path / "model-store",
        run_dir=tmp_path / "run",
        log_dir=tmp_path / "logs",
    )
    arguments = [str(model_path), "--workers", str(workers), *(["--token-auth"] if token_auth else [])]
    for option, port in zip(("--port", "--management-port", "--metrics-port"), ports, strict=False):
        arguments += [option, str(port)]
    options = parse_options(arguments, {}, ROOT, tmp_path)
    base = settings.read_properties(paths.config_dir / "config.properties")
    base |= {
        "grpc_inference_port": str(ports[3]),
        "grpc_management_port": str(ports[4]),
        **(properties or {}),
    }
    effective = settings.effective_properties(base, options, paths)
    served = [_served("whisper", model_path, "start")]
    served += [_served(name, path, "on_demand") for name, path in on_demand.items()]
    served += [Served(name, row, Weights(Path(row.checkpoint))) for name, row in beside.items()]
    usual = settings.read_model_config(paths.config_dir / "model-config.yaml")
    configs = {
        name: _merged(config, model_config or {})
        for name, config in model_configs(usual, options, served).items()
    }
    effective |= on_demand_properties(configs, served)
    effective["load_models"] = ",".join(f"{name}.mar" for name in configs)
    settings.prepare(paths, effective, for_torchserve(configs, served))
    for name in configs:
        archive.ensure_archive(paths, name)
    return _launch(paths, effective, sample, timeout_s)


def _served(name: str, path: Path, load: Literal["start", "on_demand"]) -> Served:
    return Served(name, ModelRow(checkpoint=str(path), load=load), Weights(path.absolute()))


def _launch(paths: Paths, properties: Mapping[str, str], sample: Path | None, timeout_s: float) -> Server:
    urls = {key: Address.parse(key, properties[key]).url
            for key in ("inference_address", "management_address", "metrics_address")}  # fmt: skip
    key_file = paths.key_file if properties["disable_token_authorization"] == "false" else None
    with (paths.run_dir / "console.log").open("wb") as output:
        process = TorchServe(Launch(find_java(os.environ), properties, paths), output)
    server = Server(
        process, urls["inference_address"], urls["management_address"], urls["metrics_address"], key_file
    )
    probe = Probe(server.predictions, f"{server.management}/models/whisper", sample, key_file=key_file)
    try:
        wait_until_ready(process, probe, timeout_s)
    except BaseException:
        process.stop()
        raise
    return server


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, tables merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
        )
    return merged


def command_line(pid: int) -> str:
    """A process's arguments with a zero byte between them; "" once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0").decode("utf-8", "replace")
    except OSError:
        return ""
