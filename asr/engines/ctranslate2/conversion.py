"""An OpenAI checkpoint as a CTranslate2 model: converted once by its spec classes, kept in a cache.

The weights are the same numbers under other names (ctranslate2/converters/transformers.py, WhisperLoader), so
no transformers is needed. What is written is what its own converter writes: other programs can read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asr.checkpoint_files import CTRANSLATE2_WEIGHTS
from asr.config import ConfigError
from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.checkpoints.converted import Format, converted_model
from asr.engines.checkpoints.vocabulary import vocabulary
from asr.text.tokenizer import Tokenizer

REQUIREMENTS = "requirements-ctranslate2.txt"
LAYOUT = 1  # raised when this file writes something else for the same checkpoint

Weights = NDArray[Any]  # float32 or float16, as the checkpoint has it


def ctranslate2() -> Any:
    """The package; raises ConfigError with the command that installs it."""
    try:
        return import_module("ctranslate2")
    except ImportError as error:
        raise ConfigError(
            f"engine.backend is 'ctranslate2', which is not installed ({error}): "
            f"pip install -r {REQUIREMENTS}, or set it to 'torch'"
        ) from error


def converted_folder(checkpoint: Checkpoint, sources: Sequence[Path]) -> Path:
    """Folder of the converted model, see `converted_model`."""

    def write(folder: Path) -> None:
        spec = model_spec(checkpoint, checkpoint.tokenizer)
        spec.validate()
        spec.optimize(quantization="float16" if _is_half(checkpoint) else None)
        spec.save(str(folder))

    return converted_model(checkpoint, sources, Format("ctranslate2", LAYOUT, CTRANSLATE2_WEIGHTS, write))


def _is_half(checkpoint: Checkpoint) -> bool:
    """Whether the file holds float16, as OpenAI's do: float32 would double the converted one for nothing."""
    return all(
        tensor.dtype == torch.float16
        for name, tensor in checkpoint.state.items()
        if tensor.ndim == 2 and not name.endswith("positional_embedding")
    )


def model_spec(checkpoint: Checkpoint, tokenizer: Tokenizer) -> Any:
    """`ctranslate2.specs.WhisperSpec` with the checkpoint's weights, vocabulary and token lists."""
    ctranslate2()
    dims, read = checkpoint.dims, _Reader(checkpoint)
    spec = import_module("ctranslate2.specs.whisper_spec").WhisperSpec(
        dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head
    )
    encoder, decoder = spec.encoder, spec.decoder
    for conv in ("conv1", "conv2"):
        read.linear(getattr(encoder, conv), f"encoder.{conv}")
    encoder.position_encodings.encodings = read("encoder.positional_embedding")
    read.norm(encoder.layer_norm, "encoder.ln_post")
    for index, layer in enumerate(encoder.layer):
        read.self_attention(layer, f"encoder.blocks.{index}")
        read.mlp(layer, f"encoder.blocks.{index}")

    decoder.embeddings.weight = decoder.projection.weight = read("decoder.token_embedding.weight")
    decoder.position_encodings.encodings = read("decoder.positional_embedding")
    read.norm(decoder.layer_norm, "decoder.ln")
    for index, layer in enumerate(decoder.layer):
        read.self_attention(layer, f"decoder.blocks.{index}")
        read.cross_attention(layer, f"decoder.blocks.{index}")
        read.mlp(layer, f"decoder.blocks.{index}")

    spec.config.suppress_ids = list(tokenizer.suppressed_tokens((-1,)))
    spec.config.suppress_ids_begin = [*tokenizer.encode(" "), tokenizer.eot]
    spec.config.lang_ids = list(tokenizer.language_tokens)
    spec.config.alignment_heads = [list(head) for head in checkpoint.alignment_heads]
    spec.register_vocabulary(vocabulary(tokenizer, dims.n_vocab))
    return spec


class _Reader:
    """The checkpoint's weights put where a spec wants them."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._state = checkpoint.state

    def __call__(self, name: str) -> Weights:
        tensor = self._state[name]
        return (tensor if tensor.dtype == torch.float16 else tensor.float()).contiguous().numpy()

    def norm(self, spec: Any, prefix: str) -> None:
        spec.gamma, spec.beta = self(f"{prefix}.weight"), self(f"{prefix}.bias")

    def linear(self, spec: Any, *prefixes: str) -> None:
        """One projection out of several; a part without bias (the keys) gets bias 0."""
        weights = [self(f"{prefix}.weight") for prefix in prefixes]
        spec.weight = np.concatenate(weights)
        spec.bias = np.concatenate(
            [
                self(f"{prefix}.bias")
                if f"{prefix}.bias" in self._state
                else np.zeros(len(weight), weight.dtype)
                for prefix, weight in zip(prefixes, weights, strict=True)
            ]
        )

    def self_attention(self, layer: Any, block: str) -> None:
        spec = layer.self_attention
        self.norm(spec.layer_norm, f"{block}.attn_ln")
        self.linear(spec.linear[0], *(f"{block}.attn.{part}" for part in ("query", "key", "value")))
        self.linear(spec.linear[1], f"{block}.attn.out")

    def cross_attention(self, layer: Any, block: str) -> None:
        spec = layer.attention
        self.norm(spec.layer_norm, f"{block}.cross_attn_ln")
        self.linear(spec.linear[0], f"{block}.cross_attn.query")
        self.linear(spec.linear[1], *(f"{block}.cross_attn.{part}" for part in ("key", "value")))
        self.linear(spec.linear[2], f"{block}.cross_attn.out")

    def mlp(self, layer: Any, block: str) -> None:
        self.norm(layer.ffn.layer_norm, f"{block}.mlp_ln")
        self.linear(layer.ffn.linear_0, f"{block}.mlp.0")
        self.linear(layer.ffn.linear_1, f"{block}.mlp.2")
