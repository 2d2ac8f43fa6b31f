"""A checkpoint in OpenAI's file format (`dims`, `model_state_dict`) or CTranslate2's, checked before use."""

from __future__ import annotations

import base64
import gzip
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.config import ConfigError
from asr.engine import ModelSpec
from asr.engines.checkpoints.ctranslate2_directory import (
    MODEL_FILE,
    check_vocabulary,
    is_model_directory,
    read_directory,
)

VOCABULARIES = (51_864, 51_865, 51_866)  # English-only, multilingual, multilingual since large-v3
MULTILINGUAL_VOCAB = 51_865  # openai-whisper: is_multilingual = n_vocab >= 51865


@dataclass(frozen=True, slots=True)
class ModelDims:
    """Every size of the model, named as in whisper/model.py."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def multilingual(self) -> bool:
        return self.n_vocab >= MULTILINGUAL_VOCAB

    @property
    def num_languages(self) -> int:
        return self.n_vocab - 51_765 - int(self.multilingual)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Sizes and weights as they lie in the file; `alignment_heads` are (layer, head) pairs."""

    name: str
    dims: ModelDims
    state: Mapping[str, Tensor]
    alignment_heads: tuple[tuple[int, int], ...]

    def spec(self) -> ModelSpec:
        """What sessions must know of the model."""
        dims = self.dims
        return ModelSpec(
            name=self.name,
            multilingual=dims.multilingual,
            num_languages=dims.num_languages,
            n_mels=dims.n_mels,
            n_text_ctx=dims.n_text_ctx,
        )


def load_checkpoint(path: str) -> Checkpoint:
    """The checkpoint at `path`, weights on the CPU; raises ConfigError when it is missing or not usable.

    path: a file in OpenAI's format, or a folder of CTranslate2's.
    """
    file = Path(path)
    is_directory = is_model_directory(file)
    content = read_directory(file) if is_directory else _file_content(file, path)
    dims = _dims(content["dims"], path)
    state = content["model_state_dict"]
    _check_shapes(state, dims, path)
    if is_directory:
        check_vocabulary(file, dims.multilingual, dims.num_languages, dims.n_vocab)
    name = file.absolute().name if is_directory else file.stem
    heads = _alignment_heads(content.get("alignment_heads"), name.removeprefix("faster-whisper-"), dims, path)
    return Checkpoint(name, dims, state, heads)


def _file_content(file: Path, path: str) -> dict[str, Any]:
    """What OpenAI's format holds: a mapping with `dims` and `model_state_dict`, nothing in it checked yet."""
    if not file.is_file():
        raise ConfigError(
            f"engine.model is {path!r}: there is no such file, nor a folder with {MODEL_FILE} in it"
        )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=_can_be_mapped(file))
    except (
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise ConfigError(f"engine.model {path!r} is not a readable checkpoint: {_reason(error)}") from error
    if not isinstance(content, dict) or not {"dims", "model_state_dict"} <= content.keys():
        raise ConfigError(
            f"engine.model {path!r} is not in OpenAI's format: it must hold 'dims' and 'model_state_dict'"
        )
    return content


def _reason(error: Exception) -> str:
    """Why a file cannot be read, in one line, without torch's advice to read it unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is no archive that torch.save writes, or holds more than tensors and plain values"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _can_be_mapped(file: Path) -> bool:
    """Whether the file is in torch's zip format with nothing compressed: it is then mapped, not read.

    The bundled demo checkpoint is compressed: most of its vocabulary rows are equal.
    """
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def _dims(raw: Any, path: str) -> ModelDims:
    names = [field.name for field in fields(ModelDims)]
    if not isinstance(raw, dict) or set(raw) != set(names):
        raise ConfigError(f"engine.model {path!r}: 'dims' must hold exactly {names}")
    if wrong := {name: raw[name] for name in names if not isinstance(raw[name], int) or raw[name] < 1}:
        raise ConfigError(f"engine.model {path!r}: dims must be whole numbers above 0, got {wrong}")
    dims = ModelDims(**raw)
    for kind, state, heads in (
        ("audio", dims.n_audio_state, dims.n_audio_head),
        ("text", dims.n_text_state, dims.n_text_head),
    ):
        if state % heads:
            raise ConfigError(f"engine.model {path!r}: n_{kind}_state {state} is not a multiple of {heads}")
    if dims.n_mels not in (80, 128):
        raise ConfigError(f"engine.model {path!r}: n_mels is {dims.n_mels}, must be 80 or 128")
    if dims.n_vocab not in VOCABULARIES:
        raise ConfigError(f"engine.model {path!r}: n_vocab is {dims.n_vocab}, must be one of {VOCABULARIES}")
    return dims


def expected_shapes(dims: ModelDims) -> dict[str, tuple[int, ...]]:
    """Parameter name → shape, as openai-whisper's modules name them."""
    audio, text = dims.n_audio_state, dims.n_text_state
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (audio, dims.n_mels, 3),
        "encoder.conv1.bias": (audio,),
        "encoder.conv2.weight": (audio, audio, 3),
        "encoder.conv2.bias": (audio,),
        "encoder.positional_embedding": (dims.n_audio_ctx, audio),
        "encoder.ln_post.weight": (audio,),
        "encoder.ln_post.bias": (audio,),
        "decoder.token_embedding.weight": (dims.n_vocab, text),
        "decoder.positional_embedding": (dims.n_text_ctx, text),
        "decoder.ln.weight": (text,),
        "decoder.ln.bias": (text,),
    }
    for layer in range(dims.n_audio_layer):
        shapes |= _block_shapes(f"encoder.blocks.{layer}", audio, ("attn",))
    for layer in range(dims.n_text_layer):
        shapes |= _block_shapes(f"decoder.blocks.{layer}", text, ("attn", "cross_attn"))
    return shapes


def _block_shapes(prefix: str, state: int, attentions: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for attention in attentions:
        for part in ("query", "key", "value", "out"):
            shapes[f"{prefix}.{attention}.{part}.weight"] = (state, state)
            if part != "key":
                shapes[f"{prefix}.{attention}.{part}.bias"] = (state,)
    for norm in (*(f"{attention}_ln" for attention in attentions), "mlp_ln"):
        shapes[f"{prefix}.{norm}.weight"] = (state,)
        shapes[f"{prefix}.{norm}.bias"] = (state,)
    shapes[f"{prefix}.mlp.0.weight"] = (4 * state, state)
    shapes[f"{prefix}.mlp.0.bias"] = (4 * state,)
    shapes[f"{prefix}.mlp.2.weight"] = (state, 4 * state)
    shapes[f"{prefix}.mlp.2.bias"] = (state,)
    return shapes


def _check_shapes(state: Any, dims: ModelDims, path: str) -> None:
    shapes = expected_shapes(dims)
    if missing := sorted(set(shapes) - set(state)):
        raise ConfigError(f"engine.model {path!r} lacks {len(missing)} weights, among them {missing[0]}")
    for name, shape in shapes.items():
        found = tuple(state[name].shape)
        if found != shape:
            raise ConfigError(f"engine.model {path!r}: {name} has shape {found}, its dims ask for {shape}")


def _alignment_heads(raw: Any, name: str, dims: ModelDims, path: str) -> tuple[tuple[int, int], ...]:
    """Heads for word alignment: the file's own, OpenAI's for its models, else the upper half's.

    The file may carry `alignment_heads` as (layer, head) pairs. OpenAI's own files do not, so they are
    known by their file name together with their sizes.
    """
    if raw is not None:
        try:
            heads = tuple((int(layer), int(head)) for layer, head in raw)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"{path!r}: alignment_heads must be (layer, head) pairs, got {raw!r}"
            ) from error
        if not heads or not all(
            0 <= layer < dims.n_text_layer and 0 <= head < dims.n_text_head for layer, head in heads
        ):
            raise ConfigError(f"{path!r}: alignment_heads {heads} lie outside the model's layers and heads")
        return heads
    from whisper import _ALIGNMENT_HEADS  # one dump per official model (whisper/__init__.py)

    if name in _ALIGNMENT_HEADS:
        known = np.frombuffer(gzip.decompress(base64.b85decode(_ALIGNMENT_HEADS[name])), dtype=bool)
        if known.size == dims.n_text_layer * dims.n_text_head:
            grid = known.reshape(dims.n_text_layer, dims.n_text_head)
            return tuple((int(layer), int(head)) for layer, head in np.argwhere(grid))
    upper = range(dims.n_text_layer // 2, dims.n_text_layer)
    return tuple((layer, head) for layer in upper for head in range(dims.n_text_head))
