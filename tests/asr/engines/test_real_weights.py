"""The real weights from the index: bit for bit what unmodified openai-whisper holds after loading them."""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from whisper import _ALIGNMENT_HEADS

from asr.audio import media
from asr.config import EngineConfig, Limits
from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.engines.loading import load_engine
from asr.schema import Hypothesis
from asr.text.tokenizer import tokenizer_for
from tests.asr.engines import reference
from tests.weights import real_checkpoint, upstream_model

pytestmark = pytest.mark.weights
SAMPLES = Path(__file__).resolve().parents[3] / "samples"
SIZES = {"base": (512, 6, 8, 51_865), "tiny.en": (384, 4, 6, 51_864)}


@pytest.mark.parametrize("name", SIZES)
def test_upstream_loads_the_same_numbers(name: str) -> None:
    checkpoint = load_checkpoint(str(real_checkpoint(name)))
    dims = checkpoint.dims
    assert (dims.n_text_state, dims.n_text_layer, dims.n_text_head, dims.n_vocab) == SIZES[name]
    theirs = upstream_model(name).state_dict()
    assert theirs.keys() == checkpoint.state.keys()
    for key, tensor in checkpoint.state.items():
        assert tensor.dtype == torch.float16
        assert torch.equal(theirs[key], tensor.float()), key


@pytest.mark.parametrize("name", SIZES)
def test_the_parts_that_are_known_beforehand_are_in_their_places(name: str) -> None:
    checkpoint = load_checkpoint(str(real_checkpoint(name)))
    dims = checkpoint.dims
    speeds = np.exp(-np.linspace(0, np.log(10_000), dims.n_audio_state // 2))  # whisper/model.py, sinusoids
    angles = np.arange(dims.n_audio_ctx)[:, None] * speeds
    positions = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
    assert torch.equal(checkpoint.state["encoder.positional_embedding"], torch.from_numpy(positions).half())
    heads = np.frombuffer(gzip.decompress(base64.b85decode(_ALIGNMENT_HEADS[name])), dtype=bool)
    grid = heads.reshape(dims.n_text_layer, dims.n_text_head)
    assert checkpoint.alignment_heads == tuple((int(a), int(b)) for a, b in np.argwhere(grid))


@pytest.mark.parametrize("backend", ["torch", "ctranslate2"])
@pytest.mark.parametrize("name", SIZES)
def test_both_engines_hear_a_human_sentence(name: str, backend: str) -> None:
    if backend == "ctranslate2":
        pytest.importorskip("ctranslate2", reason="an extra: requirements-ctranslate2.txt")
    path = str(real_checkpoint(name))
    engine = load_engine(
        EngineConfig(path, device="cpu", precision="float32", backend=backend, warm_up=False)
    )
    samples = media.decode((SAMPLES / "jfk.flac").read_bytes(), Limits()).samples
    (heard,) = engine.decode([reference.window(samples, language="en")])
    assert isinstance(heard, Hypothesis), heard
    text = tokenizer_for(engine.spec.multilingual, engine.spec.num_languages).decode(heard.tokens)
    assert words(text) == words((SAMPLES / "jfk.txt").read_text())


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
