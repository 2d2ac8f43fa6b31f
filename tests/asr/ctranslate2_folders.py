"""Folders in CTranslate2's format, written without its package."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.checkpoints.vocabulary import vocabulary
from asr.text.tokenizer import tokenizer_for

TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
Arrays = dict[str, np.ndarray]


def write_model_bin(
    file: Path, arrays: Arrays, aliases: dict[str, str], *, spec: str = "WhisperSpec", version: int = 6
) -> None:
    """`file` in the format that asr.engines.checkpoints.ctranslate2_file describes."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", version), string(spec), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        head = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        data = array.tobytes()
        parts += [string(name), head, struct.pack("<BI", TYPES[array.dtype.name], len(data)), data]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [string(alias) + string(name) for alias, name in aliases.items()]
    file.write_bytes(b"".join(parts))


def renamed(checkpoint: Checkpoint, dtype: str) -> Arrays:
    """A checkpoint's tensors under CTranslate2's names, stacked as it stacks them."""
    state = {name: tensor.numpy().astype(dtype) for name, tensor in checkpoint.state.items()}
    arrays: Arrays = {}

    def norm(theirs: str, ours: str) -> None:
        arrays[f"{theirs}/gamma"], arrays[f"{theirs}/beta"] = state[f"{ours}.weight"], state[f"{ours}.bias"]

    def linear(theirs: str, *ours: str) -> None:
        weights = [state[f"{each}.weight"] for each in ours]
        zeros = np.zeros(len(weights[0]), dtype)
        arrays[f"{theirs}/weight"] = np.concatenate(weights)
        arrays[f"{theirs}/bias"] = np.concatenate([state.get(f"{each}.bias", zeros) for each in ours])

    def stacked(theirs: str, ours: str, *groups: tuple[str, ...]) -> None:
        for number, names in enumerate(groups):
            linear(f"{theirs}/linear_{number}", *(f"{ours}.{name}" for name in names))

    for side, last in (("encoder", "ln_post"), ("decoder", "ln")):
        arrays[f"{side}/num_heads"] = np.array(checkpoint.dims.n_text_head, np.int16)
        arrays[f"{side}/position_encodings/encodings"] = state[f"{side}.positional_embedding"]
        norm(f"{side}/layer_norm", f"{side}.{last}")
        for layer in range(checkpoint.dims.n_text_layer):
            theirs, ours = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            norm(f"{theirs}/self_attention/layer_norm", f"{ours}.attn_ln")
            stacked(f"{theirs}/self_attention", f"{ours}.attn", ("query", "key", "value"), ("out",))
            norm(f"{theirs}/ffn/layer_norm", f"{ours}.mlp_ln")
            stacked(f"{theirs}/ffn", f"{ours}.mlp", ("0",), ("2",))
            if side == "decoder":
                norm(f"{theirs}/attention/layer_norm", f"{ours}.cross_attn_ln")
                stacked(f"{theirs}/attention", f"{ours}.cross_attn", ("query",), ("key", "value"), ("out",))
    for conv in ("conv1", "conv2"):
        arrays[f"encoder/{conv}/weight"] = state[f"encoder.{conv}.weight"]
        arrays[f"encoder/{conv}/bias"] = state[f"encoder.{conv}.bias"]
    arrays["decoder/embeddings/weight"] = state["decoder.token_embedding.weight"]
    return arrays


TIED = {"decoder/projection/weight": "decoder/embeddings/weight"}


def words(checkpoint: Checkpoint) -> list[str]:
    dims = checkpoint.dims
    return vocabulary(tokenizer_for(dims.multilingual, dims.num_languages), dims.n_vocab)


def folder(path: Path, arrays: Arrays, tokens: list[str], heads: object = ((1, 0),), **more: object) -> Path:
    """A CTranslate2 folder."""
    path.mkdir(exist_ok=True)
    write_model_bin(path / "model.bin", arrays, TIED, **more)  # type: ignore[arg-type]
    (path / "config.json").write_text(json.dumps({} if heads is None else {"alignment_heads": heads}))
    (path / "vocabulary.json").write_text(json.dumps(tokens))
    return path
