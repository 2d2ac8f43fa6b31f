"""A checkpoint in any of the formats that are read, checked before use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from asr.checkpoint_files import ADAPTER_CONFIG, FORMATS, Kind, checkpoint_name, kind_of
from asr.config import ConfigError
from asr.engine import ModelSpec
from asr.engines.checkpoints.ctranslate2_directory import check_vocabulary, read_directory
from asr.engines.checkpoints.dimensions import ModelDims, check_shapes, checked_dims
from asr.engines.checkpoints.huggingface_folder import read_huggingface
from asr.engines.checkpoints.lora import with_adapter
from asr.engines.checkpoints.openai_heads import known_heads
from asr.engines.checkpoints.torch_file import read_torch_file
from asr.text.tokenizer import Tokenizer, tokenizer_for


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Sizes and weights as they lie in the file; `alignment_heads` are (layer, head) pairs."""

    name: str
    dims: ModelDims
    state: Mapping[str, Tensor]  # by OpenAI's names; empty where the weights are quantised
    alignment_heads: tuple[tuple[int, int], ...]
    suppress_tokens: tuple[int, ...] | None = None  # in place of OpenAI's non-speech tokens

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

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's, with its own list of suppressed tokens where it has one."""
        return tokenizer_for(self.dims.multilingual, self.dims.num_languages, self.suppress_tokens)

    @property
    def is_quantised(self) -> bool:
        """Whether CTranslate2 alone can read the weights."""
        return not self.state


def load_checkpoint(path: str, adapter: str | None = None, *, takes_quantised: bool = False) -> Checkpoint:
    """The checkpoint at `path`, weights on the CPU; raises ConfigError when it is missing or not usable.

    adapter: a folder with a LoRA adapter to merge into it. takes_quantised: whether a folder of CTranslate2's
    in int8 is good enough; its weights are then not read.
    """
    place = Path(path)
    content = _content(place, path, takes_quantised=takes_quantised)
    dims = checked_dims(content["dims"], path)
    state = content["model_state_dict"]
    check_shapes(state, dims, path)
    if kind_of(place) is Kind.CTRANSLATE2:
        check_vocabulary(place, dims.multilingual, dims.num_languages, dims.n_vocab)
    name = checkpoint_name(place)
    known_as = name.removeprefix("faster-").removeprefix("whisper-")
    heads = _alignment_heads(content.get("alignment_heads"), known_as, dims, path)
    if content.get("is_quantised"):
        if adapter is not None:
            raise ConfigError(f"engine.adapter {adapter!r} cannot be merged: {path!r} is quantised")
        return Checkpoint(name, dims, {}, heads)
    if adapter is not None:
        state = with_adapter(state, Path(adapter))
        name = checkpoint_name(Path(adapter))
    return Checkpoint(name, dims, state, heads, content.get("suppress_tokens"))


def _content(place: Path, path: str, *, takes_quantised: bool) -> dict[str, Any]:
    """`dims`, `model_state_dict` and perhaps `alignment_heads`, as the format has them."""
    match kind_of(place):
        case Kind.OPENAI:
            return _openai_content(place, path)
        case Kind.CTRANSLATE2:
            return read_directory(place, takes_quantised=takes_quantised)
        case Kind.HUGGING_FACE:
            return read_huggingface(place)
        case Kind.ADAPTER:
            raise ConfigError(
                f"engine.model is {path!r}, which holds a LoRA adapter ({ADAPTER_CONFIG}): name it in "
                "engine.adapter, and in engine.model the model that it was trained on"
            )
    raise ConfigError(
        f"engine.model is {path!r}: there is no such file, nor a folder of a model; give {FORMATS}"
    )


def _openai_content(file: Path, path: str) -> dict[str, Any]:
    """What OpenAI's format holds: a mapping with `dims` and `model_state_dict`, nothing in it checked yet."""
    content = read_torch_file(file, f"engine.model {path!r}")
    if not isinstance(content, dict) or not {"dims", "model_state_dict"} <= content.keys():
        raise ConfigError(
            f"engine.model {path!r} is not in OpenAI's format: it must hold 'dims' and 'model_state_dict'"
        )
    return {
        name: content[name] for name in ("dims", "model_state_dict", "alignment_heads") if name in content
    }


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
    if (known := known_heads(name, dims.n_text_layer, dims.n_text_head)) is not None:
        return known
    upper = range(dims.n_text_layer // 2, dims.n_text_layer)
    return tuple((layer, head) for layer in upper for head in range(dims.n_text_head))
