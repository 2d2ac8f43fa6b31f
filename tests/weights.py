"""OpenAI's real weights for tests marked `weights`: fetched once, skipped where no source answers."""

from __future__ import annotations

import fcntl
import os
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from asr.engines.checkpoints.checkpoint import load_checkpoint
from download_model import download_model
from model_sources.files import DownloadError

ROOT = Path(__file__).resolve().parents[1]


def real_checkpoint(name: str) -> Path:
    """Path of OpenAI's "base" or "tiny.en", a file or a folder as its source has it; else the test skips.

    It lies in the folder that WHISPER_MODELS names, or in whisper-models/, and is checked once a process.
    """
    found = _checkpoint(name)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@lru_cache
def _checkpoint(name: str) -> Path | str:
    """The checkpoint's path, or why there is none."""
    directory = Path(os.environ.get("WHISPER_MODELS") or ROOT / "whisper-models").absolute()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of another process wait for the same download
        try:
            return download_model(name, directory)
        except DownloadError as error:
            return f"{name} cannot be had: {error}"


@lru_cache(maxsize=1)
def upstream_model(name: str) -> Whisper:
    """Unmodified openai-whisper's model with the weights of `real_checkpoint`, float32, on the CPU."""
    checkpoint = load_checkpoint(str(real_checkpoint(name)))
    dims = {field: getattr(checkpoint.dims, field) for field in ModelDimensions.__annotations__}
    model = Whisper(ModelDimensions(**dims))
    model.load_state_dict(dict(checkpoint.state))
    heads = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
    for layer, head in checkpoint.alignment_heads:
        heads[layer, head] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model.eval()
