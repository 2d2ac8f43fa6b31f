"""One checkpoint in every format gives the same tokens on every backend, and the real one the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr.config import ConfigError, EngineConfig
from asr.engines import load_engine
from asr.engines.base import BaseEngine
from asr.engines.checkpoints.checkpoint import Checkpoint, load_checkpoint
from asr.schema import Hypothesis
from tests.asr import checkpoints, ctranslate2_folders, huggingface_folders
from tests.asr.engines import reference
from tests.asr.real import SAMPLES, recording, words
from tests.weights import real_checkpoint

pytestmark = pytest.mark.slow

BACKENDS = ["torch", "onnxruntime", "ctranslate2"]
SETTINGS = {"device": "cpu", "precision": "float32", "threads": 1, "warm_up": False}
EIGHT_BITS = {"precision": "auto", "compute_type": "int8"}
LORA = ("decoder.layers.0.encoder_attn.q_proj", "encoder.layers.1.fc1", "decoder.layers.1.self_attn.out_proj")


def loaded(backend: str, path: Path, adapter: Path | None = None, **more: object) -> BaseEngine:
    if backend == "ctranslate2":
        pytest.importorskip("ctranslate2", reason="an extra: requirements-ctranslate2.txt")
    folder = None if adapter is None else str(adapter)
    return load_engine(EngineConfig(str(path), folder, backend=backend, **SETTINGS | more))


def tokens_of(engine: BaseEngine, languages: Sequence[str]) -> list[tuple[int, ...]]:
    windows = [
        reference.window(checkpoints.random_audio(9, seed), language=language)
        for seed, language in enumerate(languages)
    ]
    heard = engine.decode(windows)
    assert all(isinstance(each, Hypothesis) and each.tokens for each in heard), heard
    return [each.tokens for each in heard if isinstance(each, Hypothesis)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.random_checkpoint(tmp_path_factory.mktemp("model"), seed=5)


@pytest.fixture(scope="module")
def model(file: Path) -> Checkpoint:
    return load_checkpoint(str(file))


def hugging_face(path: Path, model: Checkpoint) -> Path:
    tensors = huggingface_folders.renamed(model, torch.float32)
    huggingface_folders.folder(path, model, tensors, generation={"alignment_heads": [[1, 0]]})
    huggingface_folders.write_tokenizer(path, huggingface_folders.words(model), model.tokenizer.eot)
    return path


def shards(path: Path, model: Checkpoint) -> Path:
    return huggingface_folders.shard(hugging_face(path, model))


def ctranslate2(path: Path, model: Checkpoint) -> Path:
    arrays = ctranslate2_folders.renamed(model, "float32")
    return ctranslate2_folders.folder(path, arrays, ctranslate2_folders.words(model))


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_format_gives_the_files_tokens(
    backend: str, file: Path, model: Checkpoint, tmp_path: Path
) -> None:
    expected = tokens_of(loaded(backend, file), ["en", "hi"])
    for write in (hugging_face, shards, ctranslate2):
        path = write(tmp_path / write.__name__, model)
        assert tokens_of(loaded(backend, path), ["en", "hi"]) == expected, write.__name__


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_the_files_numbers_rounded(
    backend: str, dtype: torch.dtype, model: Checkpoint, tmp_path: Path
) -> None:
    rounded = {name: tensor.to(dtype).float() for name, tensor in model.state.items()}
    dims = {name: getattr(model.dims, name) for name in model.dims.__slots__}
    torch.save({"dims": dims, "model_state_dict": rounded}, tmp_path / "rounded.pt")
    path = huggingface_folders.folder(tmp_path / "mine", model, huggingface_folders.renamed(model, dtype))
    expected = tokens_of(loaded(backend, tmp_path / "rounded.pt"), ["hi"])
    assert tokens_of(loaded(backend, path), ["hi"]) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_adapter_is_merged_on_every_backend(
    backend: str, file: Path, model: Checkpoint, tmp_path: Path
) -> None:
    path = huggingface_folders.adapter(tmp_path / "lora", huggingface_folders.lora_parts(model, *LORA))
    both = load_checkpoint(str(file), str(path))
    whole = huggingface_folders.folder(tmp_path / "merged", both)
    heard = tokens_of(loaded(backend, file, path), ["hi"])
    assert heard == tokens_of(loaded(backend, whole), ["hi"])
    assert heard != tokens_of(loaded(backend, file), ["hi"]), "not the model that was converted without it"


def test_the_models_own_suppressed_tokens_are_not_heard(
    file: Path, model: Checkpoint, tmp_path: Path
) -> None:
    [usual] = tokens_of(loaded("torch", file), ["hi"])
    text = [token for token in usual if token < model.tokenizer.eot]
    generation = {"suppress_tokens": text[:3]}
    path = huggingface_folders.folder(tmp_path / "mine", model, generation=generation)
    for backend in ("torch", "onnxruntime"):
        [heard] = tokens_of(loaded(backend, path), ["hi"])
        assert heard != usual and not set(heard) & set(text[:3])


def int8(path: Path, model: Checkpoint) -> Path:
    """What CTranslate2's converter writes with --quantization int8."""
    pytest.importorskip("ctranslate2", reason="an extra: requirements-ctranslate2.txt")
    from asr.engines.ctranslate2.conversion import model_spec

    spec = model_spec(model, model.tokenizer)
    spec.validate()
    spec.optimize(quantization="int8")
    path.mkdir()
    spec.save(str(path))
    return path


def test_eight_bits_are_run_by_ctranslate2_alone(file: Path, model: Checkpoint, tmp_path: Path) -> None:
    path = int8(tmp_path / "int8", model)
    engine = loaded("ctranslate2", path, **EIGHT_BITS)
    assert engine.description.startswith("cpu ctranslate2 int8")
    assert not (tmp_path / ".ctranslate2").exists(), "nothing to convert"
    worded = reference.window(checkpoints.random_audio(9, 0), language="hi", word_timestamps=True)
    [heard] = engine.decode([worded])
    assert isinstance(heard, Hypothesis) and heard.alignment is not None
    for backend in ("auto", "torch", "onnxruntime"):
        with pytest.raises(
            ConfigError, match=r"is quantised \(.* is int8\): only the backend ctranslate2 runs"
        ):
            loaded(backend, path)
    lora = huggingface_folders.adapter(tmp_path / "lora", huggingface_folders.lora_parts(model, *LORA))
    with pytest.raises(ConfigError, match=r"lora' cannot be merged: .*int8' is quantised"):
        loaded("ctranslate2", path, lora, **EIGHT_BITS)


def real(tmp_path: Path) -> Checkpoint:
    """tiny.en in float32, and the same in OpenAI's format as tiny.en.pt."""
    original = load_checkpoint(str(real_checkpoint("tiny.en")))
    state = {name: tensor.float() for name, tensor in original.state.items()}
    dims = {name: getattr(original.dims, name) for name in original.dims.__slots__}
    torch.save({"dims": dims, "model_state_dict": state}, tmp_path / "tiny.en.pt")
    return replace(original, state=state)


@pytest.mark.weights
def test_the_real_model_hears_the_same_in_every_format(tmp_path: Path) -> None:
    model = real(tmp_path)
    window = reference.window(recording("jfk.flac"), language="en")
    [expected] = loaded("torch", tmp_path / "tiny.en.pt").decode([window])
    assert isinstance(expected, Hypothesis) and len(expected.tokens) > 20
    for write in (hugging_face, shards, ctranslate2):
        [heard] = loaded("torch", write(tmp_path / write.__name__, model)).decode([window])
        assert isinstance(heard, Hypothesis) and heard.tokens == expected.tokens, write.__name__


@pytest.mark.weights
def test_the_real_model_is_understood_in_eight_bits(tmp_path: Path) -> None:
    model = real(tmp_path)
    engine = loaded("ctranslate2", int8(tmp_path / "int8", model), **EIGHT_BITS)
    [heard] = engine.decode([reference.window(recording("jfk.flac"), language="en")])
    assert isinstance(heard, Hypothesis)
    assert words(model.tokenizer.decode(heard.tokens)) == words((SAMPLES / "jfk.txt").read_text())
