"""The `handler:` section of model-config.yaml as frozen values. A typo is an error, never a default."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt

from asr.bounds import field_types

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

COMPUTE_TYPES = Literal[
    "auto", "float32", "float16", "bfloat16",
    "int8", "int16", "int8_float32", "int8_float16", "int8_bfloat16", "weights_int8",
]  # fmt: skip


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key, the value and what would be right."""


class Section:
    """A table whose unknown keys are errors."""

    __slots__ = ()
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class EngineConfig(Section):
    """How the model runs."""

    # path to a checkpoint: OpenAI's file, or a folder of Hugging Face's, CTranslate2's or sherpa-onnx's
    model: str
    adapter: str | None = None  # path to a folder with a LoRA adapter of peft, merged into the model
    device: str = "auto"  # auto: cuda:<gpu_id> if TorchServe gives one, else cpu; or "cpu", "cuda:0" …
    # auto: float16 on CUDA, bfloat16 on CPUs with AMX or AVX512-BF16, else float32
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_batch_size: Annotated[int, Ge(1)] = 16  # windows in one forward pass
    # seconds that a batch may take, as measured; unset: 2 on a CPU, no limit on a GPU. The time of two and a
    # half windows is always allowed
    max_batch_s: Annotated[float, Gt(0)] | None = None
    threads: Annotated[int, Ge(0)] = 0  # CPU threads of this worker; 0: cores divided by `workers`
    workers: Annotated[int, Ge(1)] = 1  # workers that share this machine's cores
    deterministic: bool = False  # fixed batch shapes: a window's tokens never depend on its neighbours
    loop_guard: bool = True  # stop a row that repeats an n-gram to the token cap
    # every window is encoded as 30 s, as in openai-whisper; False: on CPUs in float32 and int8 short ones as
    # 10 or 15 s, but for `sequential` requests
    full_windows: bool = False
    warm_up: bool = True
    # record decode steps during the warm-up, or launch kernel by kernel; not "off", which YAML reads as false
    cuda_graphs: Literal["auto", "never"] = "auto"
    # torch.cuda.empty_cache; auto: after out-of-memory and above the threshold
    cache_policy: Literal["auto", "always", "never"] = "auto"
    cache_threshold: float = 0.9  # reserved share of device memory above which "auto" empties the cache
    # auto: torch on GPUs and on CPUs that are fast in bfloat16, else onnxruntime; ctranslate2 is an extra,
    # pip install -r requirements-ctranslate2.txt
    backend: Literal["auto", "torch", "ctranslate2", "onnxruntime"] = "auto"
    # onnxruntime's; auto follows `device`
    provider: Literal["auto", "cpu", "cuda", "tensorrt", "openvino"] = "auto"
    # number format of the other backends; auto: `precision`, and ctranslate2's int8 for auto on CPUs
    compute_type: COMPUTE_TYPES = "auto"
    # onnxruntime's threads wait at full speed for 20 µs between the operators of a step; never: they sleep
    spinning: Literal["auto", "never"] = "auto"
    # the last four: a folder for sherpa-onnx, an extra, requirements-families.txt; auto: by its files
    family: Literal["auto", "whisper", "ctc", "transducer", "paraformer", "moonshine"] = "auto"
    languages: tuple[
        str, ...
    ] = ()  # that such a model was trained on; serve.sh puts those of models.yaml here
    search_paths: Annotated[int, Ge(0)] = 0  # of a transducer's beam search; 0: greedy. Hotwords need some
    # what ends a live turn that a streaming transducer hears: silence, or the model's own rules
    endpoints: Literal["silence", "model"] = "silence"
    # folder of the files that ./serve.sh --tune writes: what was measured here decides for backend "auto"
    tuning_dir: str = ""

    def __post_init__(self) -> None:
        _check_backend(self)

    @property
    def sources(self) -> tuple[Path, ...]:
        """What the weights are made of: the checkpoint, then the adapter."""
        return tuple(Path(each) for each in (self.model, self.adapter) if each is not None)


def _check_backend(config: EngineConfig) -> None:
    """Raises ConfigError for what belongs to another backend."""
    backend, compute_type = config.backend, config.compute_type
    if backend in ("auto", "torch") and compute_type != "auto":
        raise ConfigError(
            f"compute_type is {compute_type!r}, which only the backends ctranslate2 and onnxruntime have, "
            f"not {backend!r}: name one of them, or set precision instead"
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
class Limits(Section):
    """What one request may cost."""

    max_audio_seconds: Annotated[float, Gt(0)] = 4 * 3600.0
    max_upload_bytes: Annotated[int, Ge(1)] = 150_000_000
    max_prompt_chars: int = 4_000
    request_deadline_s: float = 840.0  # below responseTimeout, so that a slow file never costs the worker
    media_threads: Annotated[int, Ge(1)] = 2  # uploads decoded side by side


@dataclass(frozen=True, slots=True)
class HandlerConfig(Section):
    """The whole `handler:` section."""

    engine: EngineConfig
    limits: Limits = field(default_factory=Limits)
    log_text: bool = False  # transcripts are private

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> HandlerConfig:
        """The section as YAML has it: tables `engine:` and `limits:`, and `log_text`. Raises ConfigError."""
        # here, not above: a media process reads Limits only, and pydantic takes 11 MB
        from pydantic import TypeAdapter, ValidationError

        try:
            # as JSON, because pydantic's strict mode takes tables for dataclasses from JSON only
            return TypeAdapter(cls).validate_json(json.dumps(raw, default=str), strict=True)
        except ValidationError as error:
            raise ConfigError("; ".join(_complaint(detail) for detail in error.errors())) from error


def _complaint(detail: ErrorDetails) -> str:
    """One thing that is wrong: key, value, and what would be right."""
    path = [str(step) for step in detail["loc"]]
    where = ".".join(("handler", *path))
    if detail["type"] == "unexpected_keyword_argument":
        return f"{where} is unknown: {_hint(path)}"
    if detail["type"] == "missing":
        return f"{where} is missing"
    if detail["type"] == "value_error":
        return f"{where}: {detail['msg'].removeprefix('Value error, ')}"
    return f"{where} is {detail['input']!r}, must be {detail['msg'].removeprefix('Input should be ')}"


def _hint(path: list[str]) -> str:
    """What the unknown key at `path` was probably meant to be."""
    section: Any = HandlerConfig
    for step in path[:-1]:
        section = field_types(section)[step].type
    known = [each.name for each in dataclasses.fields(section)]
    close = difflib.get_close_matches(path[-1], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
