"""A folder that CTranslate2's converters write, read as what OpenAI's file of the same model holds.

The numbers are the checkpoint's own under other names, and some are stacked: self-attention's query, key and
value are one projection, cross-attention's key and value another (ctranslate2/converters/transformers.py,
WhisperLoader).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.checkpoint_files import CONFIG_FILE, CTRANSLATE2_WEIGHTS
from asr.config import ConfigError
from asr.engines.checkpoints.ctranslate2_file import Array, read_variables
from asr.engines.checkpoints.json_files import read_json, read_table, read_text
from asr.engines.checkpoints.vocabulary import ALSO_CALLED, vocabulary
from asr.text.tokenizer import tokenizer_for

VOCABULARY_FILES = ("vocabulary.json", "vocabulary.txt")
SPEC = "WhisperSpec"
HEAD_SIZE = 64  # of every model of OpenAI's, where the file does not say


def read_directory(path: Path, *, takes_quantised: bool = False) -> dict[str, Any]:
    """`dims` and `model_state_dict` as in OpenAI's files, and `alignment_heads` or None from config.json.

    Weights are float32 or float16 as in model.bin, on the CPU; `is_quantised` says that they are int8, which
    only CTranslate2 computes with. Raises ConfigError for what is no such model.
    """
    variables = read_variables(path / CTRANSLATE2_WEIGHTS)
    if variables.spec != SPEC:
        raise ConfigError(
            f"engine.model {str(path)!r} is a {variables.spec[:40]!r} of CTranslate2, no {SPEC}"
        )
    model = _Model(str(path), variables.arrays)
    quantised = model.quantised()
    if quantised is not None and not takes_quantised:
        raise ConfigError(
            f"engine.model {str(path)!r} is quantised ({quantised}): only the backend ctranslate2 runs it: "
            "set engine.backend to 'ctranslate2', or convert the model with --quantization float16"
        )
    dims = model.dims()
    return {
        "dims": dims,
        "model_state_dict": {name: torch.from_numpy(array) for name, array in model.state(dims)},
        "alignment_heads": _alignment_heads(path),
        "is_quantised": quantised is not None,
    }


def check_vocabulary(path: Path, multilingual: bool, num_languages: int, n_vocab: int) -> None:
    """Raises ConfigError unless the folder's vocabulary is the one that OpenAI's model of this size has."""
    file = next((path / name for name in VOCABULARY_FILES if (path / name).is_file()), None)
    if file is None:
        raise ConfigError(f"engine.model {str(path)!r} has neither {' nor '.join(VOCABULARY_FILES)}")
    found = read_json(file) if file.suffix == ".json" else read_text(file).removesuffix("\n").split("\n")
    wanted = vocabulary(tokenizer_for(multilingual, num_languages), n_vocab)
    if not isinstance(found, list) or len(found) != len(wanted):
        length = len(found) if isinstance(found, list) else "no list of"
        raise ConfigError(
            f"{str(file)!r} holds {length} tokens, OpenAI's vocabulary for it has {len(wanted)}"
        )
    for token, (ours, theirs) in enumerate(zip(wanted, found, strict=True)):
        if theirs != ours and theirs != ALSO_CALLED.get(ours):
            raise ConfigError(
                f"{str(file)!r} is not OpenAI's vocabulary: token {token} is {str(theirs)[:40]!r}, "
                f"OpenAI's is {ours!r}"
            )


@dataclass(frozen=True, slots=True)
class _Model:
    """The variables of one model, by CTranslate2's names."""

    path: str
    arrays: dict[str, Array]

    def quantised(self) -> str | None:
        """Name and type of a tensor that is neither float32 nor float16; None where all are."""
        quantised = (name for name, array in self.arrays.items() if array.ndim and array.dtype.kind != "f")
        name = next(quantised, None)
        return None if name is None else f"{name} is {self.arrays[name].dtype.name}"

    def tensor(self, name: str, rank: int) -> Array:
        """A variable with this number of dimensions."""
        array = self.arrays.get(name)
        if array is None or array.ndim != rank:
            what = "lacks it" if array is None else f"has it with {array.ndim} dimensions"
            raise ConfigError(f"engine.model {self.path!r}: a Whisper model has {name!r}, this one {what}")
        return array

    def dims(self) -> dict[str, int]:
        """Every size, from the shapes."""
        conv = self.tensor("encoder/conv1/weight", 3)
        audio_positions = self.tensor("encoder/position_encodings/encodings", 2)
        embedding = self.tensor("decoder/embeddings/weight", 2)
        text_positions = self.tensor("decoder/position_encodings/encodings", 2)
        return {
            "n_mels": conv.shape[1],
            "n_audio_ctx": audio_positions.shape[0],
            "n_audio_state": conv.shape[0],
            "n_audio_head": self._num_heads("encoder", conv.shape[0]),
            "n_audio_layer": self._num_layers("encoder"),
            "n_vocab": embedding.shape[0],
            "n_text_ctx": text_positions.shape[0],
            "n_text_state": embedding.shape[1],
            "n_text_head": self._num_heads("decoder", embedding.shape[1]),
            "n_text_layer": self._num_layers("decoder"),
        }

    def state(self, dims: dict[str, int]) -> Iterator[tuple[str, Array]]:
        """(OpenAI's name, array) of every weight."""
        for conv in ("conv1", "conv2"):
            yield f"encoder.{conv}.weight", self.tensor(f"encoder/{conv}/weight", 3)
            yield f"encoder.{conv}.bias", self.tensor(f"encoder/{conv}/bias", 1)
        for side, norm in (("encoder", "ln_post"), ("decoder", "ln")):
            yield f"{side}.positional_embedding", self.tensor(f"{side}/position_encodings/encodings", 2)
            yield from self._norm(f"{side}.{norm}", f"{side}/layer_norm")
        yield "decoder.token_embedding.weight", self._embedding()
        for layer in range(dims["n_audio_layer"]):
            yield from self._block(f"encoder.blocks.{layer}", f"encoder/layer_{layer}")
        for layer in range(dims["n_text_layer"]):
            ours, theirs = f"decoder.blocks.{layer}", f"decoder/layer_{layer}"
            yield from self._block(ours, theirs)
            yield from self._norm(f"{ours}.cross_attn_ln", f"{theirs}/attention/layer_norm")
            yield from self._linear(f"{ours}.cross_attn", ("query",), f"{theirs}/attention/linear_0")
            yield from self._linear(f"{ours}.cross_attn", ("key", "value"), f"{theirs}/attention/linear_1")
            yield from self._linear(f"{ours}.cross_attn", ("out",), f"{theirs}/attention/linear_2")

    def _block(self, ours: str, theirs: str) -> Iterator[tuple[str, Array]]:
        """Self-attention and MLP, which both sides have."""
        yield from self._norm(f"{ours}.attn_ln", f"{theirs}/self_attention/layer_norm")
        stacked = ("query", "key", "value")
        yield from self._linear(f"{ours}.attn", stacked, f"{theirs}/self_attention/linear_0")
        yield from self._linear(f"{ours}.attn", ("out",), f"{theirs}/self_attention/linear_1")
        yield from self._norm(f"{ours}.mlp_ln", f"{theirs}/ffn/layer_norm")
        yield from self._linear(f"{ours}.mlp", ("0",), f"{theirs}/ffn/linear_0")
        yield from self._linear(f"{ours}.mlp", ("2",), f"{theirs}/ffn/linear_1")

    def _norm(self, ours: str, theirs: str) -> Iterator[tuple[str, Array]]:
        yield f"{ours}.weight", self.tensor(f"{theirs}/gamma", 1)
        yield f"{ours}.bias", self.tensor(f"{theirs}/beta", 1)

    def _linear(self, ours: str, parts: Sequence[str], theirs: str) -> Iterator[tuple[str, Array]]:
        """The projections that are stacked by rows in one; OpenAI's keys have no bias, here it is 0."""
        weights = self._split(f"{theirs}/weight", 2, len(parts))
        biases = self._split(f"{theirs}/bias", 1, len(parts))
        for part, weight, bias in zip(parts, weights, biases, strict=True):
            yield f"{ours}.{part}.weight", weight
            if part != "key":
                yield f"{ours}.{part}.bias", bias
            elif bias.any():
                raise ConfigError(
                    f"engine.model {self.path!r}: the keys of {theirs!r} have a bias, Whisper's have none"
                )

    def _split(self, name: str, rank: int, parts: int) -> list[Array]:
        array = self.tensor(name, rank)
        if len(array) % parts:
            raise ConfigError(
                f"engine.model {self.path!r}: {name!r} has {len(array)} rows, not {parts} times some"
            )
        return np.split(array, parts)

    def _embedding(self) -> Array:
        """The token embedding, which is also the projection to the vocabulary."""
        embedding = self.tensor("decoder/embeddings/weight", 2)
        projection = self.tensor("decoder/projection/weight", 2)
        if projection is not embedding and not np.array_equal(projection, embedding):
            raise ConfigError(f"engine.model {self.path!r}: its output projection is not its token embedding")
        return embedding

    def _num_heads(self, side: str, state: int) -> int:
        number = self.arrays.get(f"{side}/num_heads")
        return int(number) if number is not None and number.ndim == 0 else state // HEAD_SIZE

    def _num_layers(self, side: str) -> int:
        prefix = f"{side}/layer_"  # layer_norm begins so too
        names = (name.removeprefix(prefix) for name in self.arrays if name.startswith(prefix))
        return len({name.partition("/")[0] for name in names} - {"norm"})


def _alignment_heads(path: Path) -> Any:
    file = path / CONFIG_FILE
    if not file.is_file():
        return None
    return read_table(file).get("alignment_heads")
