"""What the library demands of an ONNX file's header: refused in one line, which it would not survive."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from asr.checkpoint_files import TOKENS_FILE
from asr.config import ConfigError
from asr.engines.sherpa.onnx_header import Header, NotOnnx, read_header

WHISPERS_FILES = "Whisper is served from OpenAI's, Hugging Face's or CTranslate2's files"
# keys of several numbers with commas between
ZIPFORMERS = ("encoder_dims", "num_encoder_layers", "cnn_module_kernels", "left_context_len")
LISTS = {*ZIPFORMERS, "attention_dims", "query_head_dims", "value_head_dims", "num_heads"}
FLOAT_LISTS = {"neg_mean", "inv_stddev"}


def checked_header(file: Path) -> Header:
    """The file's header; raises ConfigError."""
    try:
        return read_header(file)
    except NotOnnx as error:
        raise ConfigError(f"{file} is not an ONNX model: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error


def check_type(file: Path, header: Header, known: Mapping[str, tuple[str, ...]], what: str) -> None:
    """Raises ConfigError where the metadata is not that of one of the known types."""
    name = header.metadata.get("model_type", "")
    if name.startswith("whisper"):
        raise ConfigError(f"{file} is Whisper's ({name}), must be {what}: {WHISPERS_FILES}")
    if name not in known:
        said = f"says model_type {name!r}" if name else "says no model_type in its metadata"
        raise ConfigError(f"{file} {said}, must be {what}: one of {', '.join(known)}")
    check_keys(file, header, known[name])


def check_keys(file: Path, header: Header, keys: tuple[str, ...]) -> None:
    """Raises ConfigError where a key is missing or is not of the numbers that it must be."""
    for key in keys:
        value = header.metadata.get(key)
        if value is None:
            raise ConfigError(f"{file} says no {key} in its metadata, which its export must write")
        is_number, what = _is_whole, "a whole number"
        if key in LISTS:
            what = "whole numbers with commas between"
        elif key in FLOAT_LISTS:
            is_number, what = _is_float, "numbers with commas between"
        numbers = value.split(",") if key in LISTS | FLOAT_LISTS else [value]
        if not all(is_number(number.strip()) for number in numbers):
            raise ConfigError(f"{file} says {key} {value[:80]!r} in its metadata, must be {what}")


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _is_float(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def check_sides(file: Path, header: Header, *, inputs: int, outputs: int = 1) -> None:
    """Raises ConfigError where there are fewer of them."""
    if len(header.inputs) < inputs or len(header.outputs) < outputs:
        raise ConfigError(
            f"{file} has {len(header.inputs)} inputs and {len(header.outputs)} outputs, "
            f"must have {inputs} and {outputs} at least"
        )


def check_outputs(file: Path, header: Header, tokens: Mapping[int, str], folder: Path) -> None:
    """Raises ConfigError where the model may write a token that has no name."""
    size = size_of(header.outputs[0], -1)
    if size is not None and (unnamed := next((n for n in range(size) if n not in tokens), None)) is not None:
        raise ConfigError(
            f"{file} writes {size} tokens, and {folder / TOKENS_FILE} has no number {unnamed}: "
            "it must name them all"
        )


def size_of(value: object, axis: int) -> int | None:
    """A fixed size of an input or output; None where it varies or is not said."""
    dims = value.type.tensor_type.shape.dim  # type: ignore[attr-defined]
    if not dims or not -len(dims) <= axis < len(dims):
        return None
    return int(dims[axis].dim_value) or None
