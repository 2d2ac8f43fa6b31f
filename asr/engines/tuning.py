"""Files of `./serve.sh --tune`: what was measured on this machine decides for `backend: auto`."""

from __future__ import annotations

import logging
from dataclasses import asdict, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from asr.checkpoint_files import sha256_of
from asr.config import ConfigError, EngineConfig, HandlerConfig
from asr.engines.device import cpu_threads
from asr.engines.hardware import hardware

logger = logging.getLogger(__name__)

SEARCHED = ("backend", "precision", "compute_type", "threads", "max_batch_size", "full_windows", "spinning")
PACKAGES = ("torch", "onnxruntime", "ctranslate2")


def tuned_config(config: EngineConfig, device: torch.device) -> EngineConfig | None:
    """`config` with the settings measured for this machine and checkpoint; None where none were.

    A setting that differs from its default is the user's and stays; a precision of the user's leaves nothing
    to decide.
    """
    if not config.tuning_dir or config.precision != "auto":
        return None
    files = sorted(Path(config.tuning_dir).glob("*.yaml"))
    here = hardware(device).as_table()
    alike = {file: found for file in files if (found := _read(file)).get("hardware") == here}
    digest = _digest(config) if alike else None
    for file, found in alike.items():
        if digest is None or _sha256(found) != digest:
            continue
        try:
            merged = _merged(config, found.get("engine"))
        except ConfigError as error:
            logger.warning("%s is not usable, tune again: %s", file, error)
            continue
        if found.get("versions") != versions():
            logger.warning("%s was measured with %s: tune again", file, found.get("versions"))
        logger.info("settings measured on this machine, from %s: %s", file, _shown(merged))
        return merged
    if files:
        logger.info("none of %d files in %s is for this machine and model", len(files), config.tuning_dir)
    return None


def versions() -> dict[str, str | None]:
    """The versions of the backends' packages; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def checkpoint_digest(config: EngineConfig) -> str:
    """SHA-256 of a checkpoint's weights, its adapter's included, in hex; raises OSError."""
    return sha256_of(config.sources).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    """The file's table; an empty one, and a warning, where it holds none."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        logger.warning("%s cannot be read: %s", file, error)
        return {}
    return found if isinstance(found, dict) else {}


def _digest(config: EngineConfig) -> str | None:
    try:
        return checkpoint_digest(config)
    except OSError:
        return None  # loading says what is wrong with it


def _sha256(found: dict[str, Any]) -> Any:
    checkpoint = found.get("checkpoint")
    return checkpoint.get("sha256") if isinstance(checkpoint, dict) else None


def _merged(config: EngineConfig, chosen: Any) -> EngineConfig:
    """`config` with `chosen` where it has its defaults; raises ConfigError for a wrong name or value."""
    if not isinstance(chosen, dict):
        raise ConfigError("it has no table `engine`")
    if unknown := chosen.keys() - set(SEARCHED):
        raise ConfigError(f"engine holds {', '.join(map(str, unknown))}, which --tune does not choose")
    checked = HandlerConfig.from_mapping({"engine": {**chosen, "model": config.model}}).engine
    if checked.backend == "auto":
        raise ConfigError("engine.backend is missing")
    defaults = {field.name: field.default for field in fields(EngineConfig)}
    ours = asdict(config)
    free = {name: getattr(checked, name) for name in chosen if ours[name] == defaults[name]}
    if free.get("threads"):
        # several workers share the cores, of which the search had all
        free["threads"] = min(free["threads"], cpu_threads(config))
    return replace(config, **free)


def _shown(config: EngineConfig) -> str:
    return ", ".join(f"{name} {str(getattr(config, name)).lower()}" for name in SEARCHED)
