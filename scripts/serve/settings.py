"""The effective configuration: the files in config/ with the command line's choices put in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.serve.addresses import Address
from scripts.serve.arguments import ServeOptions
from scripts.serve.serve_error import ServeError

# keys that serve.sh decides; the rest of config.properties is taken as written
ADDRESS_OPTIONS = {
    "inference_address": ("host", "port"),
    "management_address": ("management_host", "management_port"),
    "metrics_address": ("metrics_host", "metrics_port"),
}
QUEUED_BATCHES = 4  # for each worker
ARCHIVED = "whisper"  # the model whose configuration is called model-config.yaml


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the parts of one server live; all absolute."""

    root: Path  # the repository
    config_dir: Path
    handler_dir: Path
    model_store: Path
    run_dir: Path  # effective configuration, keys; the server's working directory
    log_dir: Path

    @property
    def core_dir(self) -> Path:
        """The handler's core, which the archive packs beside it."""
        return self.handler_dir.parent / "asr"

    @property
    def properties_file(self) -> Path:
        return self.run_dir / "config.properties"

    @property
    def model_config_file(self) -> Path:
        return self.run_dir / "model-config.yaml"

    def model_config_of(self, name: str) -> Path:
        """The configuration of one of several models."""
        return self.run_dir / f"model-config-{name}.yaml" if name != ARCHIVED else self.model_config_file

    @property
    def key_file(self) -> Path:
        """Where TorchServe writes its keys: the working directory of Java, not configurable."""
        return self.run_dir / "key_file.json"

    @property
    def gateway_file(self) -> Path:
        """The gateway's address, while there is one: what scripts/healthcheck.py asks."""
        return self.run_dir / "gateway.url"


def read_properties(file: Path) -> dict[str, str]:
    """Keys and values of a Java properties file of the plain kind: key=value lines and # comments."""
    properties = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise ServeError(f"{file.name} line {number}: {line!r} is not key=value")
        properties[key.strip()] = value.strip()
    return properties


def effective_properties(base: Mapping[str, str], options: ServeOptions, paths: Paths) -> dict[str, str]:
    """config.properties as TorchServe is to read it."""
    properties = dict(base)
    for key, (host_option, port_option) in ADDRESS_OPTIONS.items():
        if key not in base:
            raise ServeError(f"config.properties has no {key}")
        address = Address.parse(key, base[key])
        host = getattr(options, host_option) or address.host
        port = getattr(options, port_option) or address.port
        properties[key] = f"{address.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    if options.token_auth:
        properties["disable_token_authorization"] = "false"
    if options.device == "cpu":
        properties["number_of_gpu"] = "0"  # else each worker is told to take a GPU
    properties["model_store"] = str(paths.model_store)
    properties["allowed_urls"] = f"file://{paths.model_store}/.*"
    properties["metrics_config"] = str(paths.config_dir / "metrics.yaml")
    # Workers of TorchServe's default count would be started for a model that names none of its own.
    properties.setdefault("default_workers_per_model", "1")
    return properties


def effective_model_config(
    base: Mapping[str, Any], options: ServeOptions, checkpoint: Path, adapter: Path | None = None
) -> dict[str, Any]:
    """model-config.yaml with the paths of the weights, and the caller's workers, device and precision."""
    config: dict[str, Any] = json.loads(json.dumps(base))  # a deep copy of plain data
    put_checkpoint(config, checkpoint, adapter)
    engine = config["handler"]["engine"]
    if options.workers is not None:
        config["minWorkers"] = config["maxWorkers"] = options.workers
    engine["workers"] = config.get("minWorkers", 1)
    if options.device is not None:
        put_device(config, options.device)
    if options.precision is not None:
        engine["precision"] = options.precision
    return with_queue(config)


def put_device(config: dict[str, Any], device: str) -> None:
    """Makes a model run on `device`."""
    # TorchServe's gpu_id decides among several GPUs; "auto" follows it
    config["handler"]["engine"]["device"] = "auto" if device == "cuda" else device


def with_queue(config: dict[str, Any]) -> dict[str, Any]:
    """The same with room for the batches that the gateway keeps at work for every worker, and for the direct
    route."""
    in_batches = QUEUED_BATCHES * int(config.get("batchSize", 1)) * int(config.get("minWorkers", 1))
    config["jobQueueSize"] = max(int(config.get("jobQueueSize", 100)), in_batches)
    return config


def put_checkpoint(config: dict[str, Any], checkpoint: Path, adapter: Path | None = None) -> None:
    """Makes `checkpoint` with its adapter the model of a model-config.yaml."""
    engine = config.setdefault("handler", {}).setdefault("engine", {})
    engine["model"] = str(checkpoint)
    if adapter is not None:
        engine["adapter"] = str(adapter)


def read_model_config(file: Path) -> dict[str, Any]:
    """The mapping in a model-config.yaml; raises ServeError."""
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ServeError(f"{file.name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ServeError(f"{file.name} must be a table of keys and values")
    return config


def check_handler_section(config: Mapping[str, Any]) -> None:
    """Raises ServeError for what would stop the worker at load: an unknown key, a wrong type, a bad value."""
    from asr.config import ConfigError, HandlerConfig

    try:
        HandlerConfig.from_mapping(config.get("handler", {}))
    except ConfigError as error:
        raise ServeError(f"model-config.yaml: {error}") from error


def prepare(
    paths: Paths,
    properties: Mapping[str, str],
    configs: Mapping[str, Mapping[str, Any]],
    gateway_url: str | None = None,
) -> None:
    """Makes the run directory with the effective configuration in it, and the log directory.

    configs: the model-config.yaml of each model by its name.
    """
    paths.run_dir.mkdir(parents=True, exist_ok=True)
    paths.log_dir.mkdir(parents=True, exist_ok=True)
    paths.key_file.unlink(
        missing_ok=True
    )  # keys of a server that is gone must not be taken for the new one's
    write_properties(paths.properties_file, properties)
    for name, config in configs.items():
        write_model_config(paths.model_config_of(name), config)
    paths.gateway_file.unlink(missing_ok=True)
    if gateway_url is not None:
        paths.gateway_file.write_text(gateway_url, encoding="utf-8")


def write_properties(file: Path, properties: Mapping[str, str]) -> None:
    """Writes a properties file; backslashes doubled as Java reads them."""
    lines = [f"{key}={value.replace(chr(92), chr(92) * 2)}" for key, value in properties.items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_model_config(file: Path, config: Mapping[str, Any]) -> None:
    """Writes model-config.yaml."""
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
