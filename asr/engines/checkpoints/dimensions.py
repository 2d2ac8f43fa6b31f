"""The sizes of a Whisper model, and the shapes of its weights that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from asr.config import ConfigError

VOCABULARIES = (51_864, 51_865, 51_866)  # English-only, multilingual, multilingual since large-v3
MULTILINGUAL_VOCAB = 51_865  # openai-whisper: is_multilingual = n_vocab >= 51865
N_AUDIO_CTX = 1500  # positions of a window of 30 s


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


def checked_dims(raw: Any, path: str) -> ModelDims:
    """The sizes that `path` gives; raises ConfigError for those that no Whisper model has."""
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


def check_shapes(state: Mapping[str, Tensor], dims: ModelDims, path: str) -> None:
    """Raises ConfigError unless every weight is there with the shape that `dims` asks for."""
    shapes = expected_shapes(dims)
    if missing := sorted(set(shapes) - set(state)):
        raise ConfigError(f"engine.model {path!r} lacks {len(missing)} weights, among them {missing[0]}")
    for name, shape in shapes.items():
        found = tuple(state[name].shape)
        if found != shape:
            raise ConfigError(f"engine.model {path!r}: {name} has shape {found}, its dims ask for {shape}")


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
