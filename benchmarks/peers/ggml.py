"""An OpenAI checkpoint in whisper.cpp's file format (its models/convert-pt-to-ggml.py tells the layout)."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

MAGIC = 0x67676D6C
HALF, SINGLE = 1, 0
MULTILINGUAL = (
    51_865  # tokens from which on whisper.cpp takes a model for multilingual, as openai-whisper does
)
DIMS = (
    *("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer"),
    *("n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels"),
)


def write_ggml(checkpoint: Path, path: Path) -> None:
    """Writes the model with matrices in float16, as whisper.cpp's own downloads are."""
    import whisper

    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    dims, assets = content["dims"], Path(whisper.__file__).parent / "assets"
    with path.open("wb") as file:
        file.write(struct.pack("i", MAGIC))
        file.write(struct.pack(f"{len(DIMS)}i", *(dims[name] for name in DIMS)))
        file.write(struct.pack("i", HALF))
        with np.load(assets / "mel_filters.npz") as filters:
            mel = filters[f"mel_{dims['n_mels']}"].astype(np.float32)
        file.write(struct.pack("2i", *mel.shape) + mel.tobytes())
        table = "multilingual" if dims["n_vocab"] >= MULTILINGUAL else "gpt2"
        lines = (assets / f"{table}.tiktoken").read_bytes().splitlines()
        tokens = [base64.b64decode(line.split()[0]) for line in lines if line]
        file.write(struct.pack("i", len(tokens)))
        for token in tokens:
            file.write(struct.pack("i", len(token)) + token)
        for name, tensor in content["model_state_dict"].items():
            _write_tensor(file, name, tensor)


def _write_tensor(file: BinaryIO, name: str, tensor: Tensor) -> None:
    data = tensor.float().numpy()
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        data = data.reshape(-1, 1)
    is_half = tensor.ndim > 1 and not name.endswith("positional_embedding")
    data = data.astype(np.float16 if is_half else np.float32)
    file.write(struct.pack("3i", data.ndim, len(name), HALF if is_half else SINGLE))
    file.write(struct.pack(f"{data.ndim}i", *reversed(data.shape)))
    file.write(name.encode() + data.tobytes())
