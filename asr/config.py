"""The `handler:` section of model-config.yaml as frozen values. A typo is an error, never a default."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
CACHE_POLICIES = ("auto", "always", "never")
CUDA_GRAPHS = ("auto", "never")  # not "off": YAML reads that as false
BACKENDS = ("torch", "ctranslate2", "onnxruntime")
PROVIDERS = ("auto", "cpu", "cuda", "tensorrt", "openvino")
COMPUTE_TYPES = (
    *("auto", "float32", "float16", "bfloat16", "int8", "int16"),
    *("int8_float32", "int8_float16", "int8_bfloat16", "weights_int8"),
)

T = TypeVar("T")


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key, the value and what would be right."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How the model runs."""

    model: str  # path to a checkpoint in OpenAI's format
    device: str = "auto"  # auto: cuda:<gpu_id> if TorchServe gives one, else cpu; or "cpu", "cuda:0" …
    precision: str = "auto"  # auto: float16 on CUDA, bfloat16 on CPUs with AMX or AVX512-BF16, else float32
    max_batch_size: int = 16  # windows in one forward pass
    threads: int = 0  # CPU threads of this worker; 0: cores divided by `workers`
    workers: int = 1  # workers that share this machine's cores
    deterministic: bool = False  # fixed batch shapes: a window's tokens never depend on its neighbours
    loop_guard: bool = True  # stop a row that repeats an n-gram to the token cap
    warm_up: bool = True
    cuda_graphs: str = "auto"  # record decode steps during the warm-up; "never" launches kernel by kernel
    cache_policy: str = "auto"  # torch.cuda.empty_cache: after out-of-memory and above the threshold
    cache_threshold: float = 0.9  # reserved share of device memory above which "auto" empties the cache
    backend: str = "torch"  # or "ctranslate2", an extra: pip install -r requirements-ctranslate2.txt
    provider: str = "auto"  # onnxruntime's: auto follows `device`
    compute_type: str = "auto"  # ctranslate2's number format; auto: `precision`, and int8 for auto on CPUs

    def __post_init__(self) -> None:
        _one_of("backend", self.backend, BACKENDS)
        _one_of("compute_type", self.compute_type, COMPUTE_TYPES)
        _one_of("provider", self.provider, PROVIDERS)
        _check_backend(self)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("cuda_graphs", self.cuda_graphs, CUDA_GRAPHS)
        _one_of("cache_policy", self.cache_policy, CACHE_POLICIES)
        _at_least("max_batch_size", self.max_batch_size, 1)
        _at_least("workers", self.workers, 1)
        _at_least("threads", self.threads, 0)


def _check_backend(config: EngineConfig) -> None:
    """Raises ConfigError for what belongs to another backend."""
    backend, compute_type = config.backend, config.compute_type
    if backend == "torch" and compute_type != "auto":
        raise ConfigError(
            f"compute_type is {compute_type!r}, which only the other backends have, not 'torch': "
            "set precision instead"
        )
    if backend == "onnxruntime" and compute_type not in ("auto", "float32", "weights_int8"):
        raise ConfigError(
            f"compute_type is {compute_type!r}, must be auto, float32 or weights_int8 with backend "
            "'onnxruntime': its dynamic int8 loses half of the words"
        )
    if backend == "ctranslate2" and compute_type == "weights_int8":
        raise ConfigError("compute_type is 'weights_int8', which only backend 'onnxruntime' has: use int8")
    if backend != "onnxruntime" and config.provider != "auto":
        raise ConfigError(
            f"provider is {config.provider!r}, which only backend 'onnxruntime' has: set device instead"
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost."""

    max_audio_seconds: float = 4 * 3600.0
    max_upload_bytes: int = 150_000_000
    max_prompt_chars: int = 4_000
    request_deadline_s: float = 840.0  # below responseTimeout, so that a slow file never costs the worker
    media_threads: int = 2  # uploads decoded side by side

    def __post_init__(self) -> None:
        if self.max_audio_seconds <= 0:
            raise ConfigError(f"max_audio_seconds is {self.max_audio_seconds}, must be above 0")
        _at_least("max_upload_bytes", self.max_upload_bytes, 1)
        _at_least("media_threads", self.media_threads, 1)


@dataclass(frozen=True, slots=True)
class HandlerConfig:
    """The whole `handler:` section."""

    engine: EngineConfig
    limits: Limits = field(default_factory=Limits)
    log_text: bool = False  # transcripts are private

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> HandlerConfig:
        """The section as written in YAML: `engine:` and `limits:` tables and `log_text`."""
        return build(cls, raw, "handler")


def build(cls: type[T], raw: Any, where: str) -> T:
    """`cls` made of a mapping: keys and types checked, nested dataclasses built; raises ConfigError."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where} must be a table of keys and values, got {raw!r}")
    hints = get_type_hints(cls)
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(raw) - known):
        raise ConfigError(f"unknown keys in {where}: {unknown}; known are {sorted(known)}")
    values = {key: _value(hints[key], value, f"{where}.{key}") for key, value in raw.items()}
    try:
        return cls(**values)
    except TypeError as error:
        missing = [f.name for f in fields(cls) if f.name not in raw]  # type: ignore[arg-type]
        raise ConfigError(f"{where}: {error} (keys not given: {missing})") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if hasattr(hint, "__dataclass_fields__"):
        return build(hint, value, where)
    allowed = get_args(hint) if get_origin(hint) in (types.UnionType, Union) else (hint,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
        raise ConfigError(f"{where} is {value!r}, must be {names}")
    return value


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}, must be one of {', '.join(allowed)}")


def _at_least(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise ConfigError(f"{name} is {value}, must be at least {minimum}")
