"""A folder that transformers' save_pretrained writes, read as what OpenAI's file of the same model holds.

The numbers are the checkpoint's own under other names. What a folder may add to them is refused by name: with
another vocabulary, other special tokens or an output layer of its own it would be decoded to wrong words.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.checkpoint_files import CONFIG_FILE, HUGGING_FACE_WEIGHTS
from asr.config import ConfigError
from asr.constants import HOP_LENGTH, N_FFT, SAMPLE_RATE
from asr.engines.checkpoints.dimensions import (
    N_AUDIO_CTX,
    VOCABULARIES,
    ModelDims,
    checked_dims,
    expected_shapes,
)
from asr.engines.checkpoints.huggingface_names import PREFIX, PROJECTION, huggingface_name
from asr.engines.checkpoints.huggingface_tokens import check_tokens, own_suppressed_tokens
from asr.engines.checkpoints.json_files import read_table
from asr.engines.checkpoints.tensor_files import Stored, read_tensors

logger = logging.getLogger(__name__)

MODEL_TYPE = "whisper"
GENERATION_FILE = "generation_config.json"
FEATURES_FILE = "preprocessor_config.json"
# ModelDims' name → key of config.json; the state of encoder and decoder is one number
SIZES = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}
# What transformers can switch and openai-whisper cannot: key → the only value that computes the same
FIXED = {"activation_function": "gelu", "scale_embedding": False}


def read_huggingface(folder: Path) -> dict[str, Any]:
    """`dims` and `model_state_dict` as in OpenAI's files; `alignment_heads` and `suppress_tokens` or None.

    Weights are float32, float16 or bfloat16 as in the files, on the CPU. Raises ConfigError for what is no
    Whisper model or is not whole.
    """
    dims = config_dims(folder / CONFIG_FILE)
    _check_features(folder / FEATURES_FILE, dims)
    generation = read_table(folder / GENERATION_FILE) if (folder / GENERATION_FILE).is_file() else {}
    check_tokens(folder, dims, generation)
    state = _state(read_tensors(folder, HUGGING_FACE_WEIGHTS), dims, folder)
    return {
        "dims": {name: getattr(dims, name) for name in SIZES},
        "model_state_dict": state,
        "alignment_heads": _alignment_heads(generation, dims, folder / GENERATION_FILE),
        "suppress_tokens": own_suppressed_tokens(generation, dims, folder / GENERATION_FILE),
    }


def config_dims(file: Path) -> ModelDims:
    """The sizes that a config.json gives; raises ConfigError for what no Whisper model has."""
    config = read_table(file)
    if (kind := config.get("model_type")) != MODEL_TYPE:
        raise ConfigError(f"{str(file)!r} describes a model of type {kind!r}, must be {MODEL_TYPE!r}")
    if missing := sorted(set(SIZES.values()) - config.keys()):
        raise ConfigError(f"{str(file)!r} lacks {', '.join(missing)}")
    if config["vocab_size"] not in VOCABULARIES:
        raise ConfigError(
            f"{str(file)!r}: vocab_size is {config['vocab_size']!r}, must be one of {VOCABULARIES}, OpenAI's "
            "vocabularies: this model has tokens of its own, which cannot be decoded here"
        )
    if config["max_source_positions"] != N_AUDIO_CTX:
        raise ConfigError(
            f"{str(file)!r}: max_source_positions is {config['max_source_positions']!r}, must be "
            f"{N_AUDIO_CTX}, which are 30 s"
        )
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise ConfigError(f"{str(file)!r}: {key} is {config[key]!r}, a Whisper model has {value!r}")
    return checked_dims({name: config[key] for name, key in SIZES.items()}, str(file))


def _check_features(file: Path, dims: ModelDims) -> None:
    """Raises ConfigError where the model was trained on another log-Mel spectrogram."""
    found = read_table(file) if file.is_file() else {}
    wanted = {
        "feature_size": dims.n_mels,
        "sampling_rate": SAMPLE_RATE,
        "n_fft": N_FFT,
        "hop_length": HOP_LENGTH,
    }
    for key, value in wanted.items():
        if found.get(key, value) != value:
            raise ConfigError(f"{str(file)!r}: {key} is {found[key]!r}, must be {value} for this model")


def _state(stored: Mapping[str, Stored], dims: ModelDims, folder: Path) -> dict[str, Tensor]:
    """OpenAI's names → the tensors of `stored`, each of the shape that `dims` asks for and none left over."""
    found = {name.removeprefix(PREFIX): each for name, each in stored.items()}
    shapes = expected_shapes(dims)
    names = {ours: huggingface_name(ours) for ours in shapes}
    if missing := [theirs for theirs in names.values() if theirs not in found]:
        raise ConfigError(
            f"{str(folder)!r} lacks {len(missing)} tensors that its {CONFIG_FILE} asks for, among them "
            f"{PREFIX}{missing[0]}"
        )
    for ours, theirs in names.items():
        if (shape := tuple(found[theirs].tensor.shape)) != shapes[ours]:
            raise ConfigError(
                f"{str(found[theirs].file)!r}: {PREFIX}{theirs} has shape {shape}, {CONFIG_FILE} asks for "
                f"{shapes[ours]}"
            )
    _check_projection(found, names["decoder.token_embedding.weight"])
    if left := sorted(found.keys() - set(names.values()) - {PROJECTION}):
        raise ConfigError(
            f"{str(found[left[0]].file)!r} holds {left[0]}, no tensor of the model in {CONFIG_FILE}"
        )
    return {ours: found[theirs].tensor for ours, theirs in names.items()}


def _check_projection(found: Mapping[str, Stored], embedding: str) -> None:
    """openai-whisper projects with the token embedding, so another matrix would be left out."""
    projection = found.get(PROJECTION)
    if projection is not None and not torch.equal(projection.tensor, found[embedding].tensor):
        raise ConfigError(
            f"{str(projection.file)!r}: {PROJECTION} must be the token embedding, and differs from it"
        )


def _alignment_heads(generation: Mapping[str, Any], dims: ModelDims, file: Path) -> Any:
    """The folder's heads for word times; None where they are another model's.

    A distilled model has fewer layers than its teacher, whose generation_config.json it may have inherited.
    """
    heads = generation.get("alignment_heads")
    if isinstance(heads, list) and any(
        isinstance(head, list) and head and isinstance(head[0], int) and head[0] >= dims.n_text_layer
        for head in heads
    ):
        logger.warning(
            "%s has alignment_heads beyond the %d layers of its model: the upper half aligns instead",
            file, dims.n_text_layer,
        )  # fmt: skip
        return None
    return heads
