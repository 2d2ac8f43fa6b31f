"""A Hugging Face folder gives the tensors of OpenAI's file; what would be mis-decoded is refused by name."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from asr.checkpoint_files import sha256_of, weight_files
from asr.config import ConfigError
from asr.engines.checkpoints.checkpoint import Checkpoint, load_checkpoint
from tests.asr import checkpoints
from tests.asr.engines.checkpoints.conftest import refused
from tests.asr.huggingface_folders import folder, renamed, shard, write_json


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_tensor_is_the_checkpoints(checkpoint: Checkpoint, tmp_path: Path, dtype: torch.dtype) -> None:
    read = load_checkpoint(str(folder(tmp_path / "mine", checkpoint, renamed(checkpoint, dtype))))
    assert (read.name, read.dims) == ("mine", checkpoint.dims)
    assert read.state.keys() == checkpoint.state.keys()
    for name, tensor in checkpoint.state.items():
        assert read.state[name].dtype == dtype
        assert torch.equal(read.state[name], tensor.to(dtype)), name


def test_shards_are_one_model(small: Checkpoint, tmp_path: Path) -> None:
    path = shard(folder(tmp_path / "mine", small))
    assert all(
        torch.equal(tensor, small.state[name]) for name, tensor in load_checkpoint(str(path)).state.items()
    )
    assert [file.name for file in weight_files(path)] == [
        f"model-{part:05}-of-00003.safetensors" for part in (1, 2, 3)
    ]
    before = sha256_of([path]).hexdigest()
    last = weight_files(path)[-1]
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    assert sha256_of([path]).hexdigest() != before, "every shard counts"


def test_older_folders_have_their_weights_as_torch_saves_them(small: Checkpoint, tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", small)
    (path / "model.safetensors").unlink()
    torch.save(renamed(small), path / "pytorch_model.bin")
    assert all(
        torch.equal(tensor, small.state[name]) for name, tensor in load_checkpoint(str(path)).state.items()
    )
    torch.save({"epoch": 3}, path / "pytorch_model.bin")
    refused(path, r"pytorch_model\.bin' must hold tensors by name")
    (path / "pytorch_model.bin").write_bytes(b"no archive")
    refused(path, r"pytorch_model\.bin' is not a readable checkpoint")


def test_the_output_layer_may_be_spelled_out_and_the_prefix_left_out(
    small: Checkpoint, tmp_path: Path
) -> None:
    tensors = renamed(small, prefix="")
    tensors["proj_out.weight"] = small.state["decoder.token_embedding.weight"].clone()
    path = folder(tmp_path / "mine", small, tensors)
    assert load_checkpoint(str(path)).dims == small.dims
    tensors["proj_out.weight"][3, 3] += 1
    folder(path, small, tensors)
    refused(path, r"model\.safetensors': proj_out\.weight must be the token embedding")


def test_a_distilled_model_has_fewer_layers_in_its_decoder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = checkpoints.dims(n_vocab=checkpoints.LARGE_V3, n_mels=128, layers=4)
    sizes.n_text_layer = 2
    student = load_checkpoint(str(checkpoints.random_checkpoint(tmp_path, sizes)))
    path = folder(tmp_path / "distil", student, generation={"alignment_heads": [[7, 0], [10, 17]]})
    with caplog.at_level(logging.WARNING):
        read = load_checkpoint(str(path))
    assert (read.dims.n_audio_layer, read.dims.n_text_layer) == (4, 2)
    assert read.alignment_heads == ((1, 0), (1, 1)), "its teacher's heads are not there"
    assert "alignment_heads beyond the 2 layers" in caplog.text


def test_heads_for_word_times_are_the_folders(small: Checkpoint, tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", small, generation={"alignment_heads": [[1, 1], [0, 0]]})
    assert load_checkpoint(str(path)).alignment_heads == ((1, 1), (0, 0))
    write_json(path / "generation_config.json", {"alignment_heads": None})
    assert load_checkpoint(str(path)).alignment_heads == ((1, 0), (1, 1)), "else the upper half's"
    write_json(path / "generation_config.json", {"alignment_heads": [[1, 5]]})
    refused(path, "lie outside the model's layers and heads")
    write_json(path / "generation_config.json", {"alignment_heads": "all"})
    refused(path, "must be .layer, head. pairs")


def test_a_snapshot_in_the_cache_is_called_by_its_models_name(small: Checkpoint, tmp_path: Path) -> None:
    path = folder(tmp_path / "models--vasista22--whisper-hindi-small" / "snapshots" / "0f3a", small)
    assert load_checkpoint(str(path)).name == "whisper-hindi-small"


OTHERS = {
    "a BERT folder": (
        {"model_type": "bert"},
        r"config\.json' describes a model of type 'bert', must be 'whisper'",
    ),
    "a larger vocabulary": (
        {"vocab_size": 51_900},
        r"config\.json': vocab_size is 51900, must be one of .* its own",
    ),
    "half the window": (
        {"max_source_positions": 750},
        r"config\.json': max_source_positions is 750, must be 1500",
    ),
    "another activation": (
        {"activation_function": "relu"},
        r"config\.json': activation_function is 'relu'.*'gelu'",
    ),
    "a scaled embedding": ({"scale_embedding": True}, r"config\.json': scale_embedding is True"),
    "a size that is no number": ({"d_model": "64"}, r"config\.json': dims must be whole numbers above 0"),
    "odd heads": ({"decoder_attention_heads": 5}, r"config\.json': n_text_state 64 is not a multiple of 5"),
    "other mel bands": ({"num_mel_bins": 64}, r"config\.json': n_mels is 64, must be 80 or 128"),
    "more layers than weights": (
        {"decoder_layers": 3},
        r"mine' lacks 24 tensors .* model\.decoder\.layers\.2\.",
    ),
    "fewer layers than weights": (
        {"encoder_layers": 1},
        r"model\.safetensors' holds encoder\.layers\.1\..*, no tensor of the model in config\.json",
    ),
    "another width": (
        {"d_model": 128},
        r"model\.safetensors': model\.encoder\.conv1\.weight has shape \(64, 80, 3\), config\.json asks",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_config_is_refused_by_name(small: Checkpoint, tmp_path: Path, what: str) -> None:
    changed, match = OTHERS[what]
    refused(folder(tmp_path / "mine", small, **changed), match)


def test_a_config_that_is_not_whole_is_refused(small: Checkpoint, tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", small)
    content = json.loads((path / "config.json").read_text())
    del content["encoder_layers"], content["vocab_size"]
    write_json(path / "config.json", content)
    refused(path, r"config\.json' lacks encoder_layers, vocab_size")
    (path / "config.json").write_text("[1, 2]")
    refused(path, r"config\.json' must hold a JSON object")
    (path / "config.json").write_text('{"model_type": ')
    refused(path, r"config\.json' is not JSON")


def test_missing_weights_are_named(small: Checkpoint, tmp_path: Path) -> None:
    tensors = renamed(small)
    del tensors["model.decoder.layers.1.fc1.weight"]
    path = folder(tmp_path / "mine", small, tensors)
    refused(
        path,
        r"mine' lacks 1 tensors that its config\.json asks for, among them model\.decoder\.layers\.1\.fc1\.w",
    )
    (path / "model.safetensors").unlink()
    refused(path, r"mine' has no weights: it has neither model\.safetensors nor ")


def test_a_shard_that_is_not_there_is_named(small: Checkpoint, tmp_path: Path) -> None:
    path = shard(folder(tmp_path / "mine", small))
    second = path / "model-00002-of-00003.safetensors"
    second.rename(tmp_path / "elsewhere")
    refused(path, r"model-00002-of-00003\.safetensors' is missing, model\.safetensors\.index\.json names it")
    (tmp_path / "elsewhere").rename(second)
    index = json.loads((path / "model.safetensors.index.json").read_text())
    moved = next(name for name, file in index["weight_map"].items() if file == second.name)
    index["weight_map"][moved] = "model-00001-of-00003.safetensors"
    write_json(path / "model.safetensors.index.json", index)
    refused(
        path,
        rf"model-00001-of-00003\.safetensors' lacks {moved}: model\.safetensors\.index\.json puts it there",
    )


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", 7, None])
def test_an_index_leads_nowhere_else(small: Checkpoint, tmp_path: Path, name: object) -> None:
    path = shard(folder(tmp_path / "mine", small))
    write_json(path / "model.safetensors.index.json", {"weight_map": {"model.encoder.conv1.weight": name}})
    refused(path, r"index\.json' must hold a weight_map from tensors to files of its folder")


def test_a_file_cut_anywhere_is_refused(small: Checkpoint, tmp_path: Path) -> None:
    file = folder(tmp_path / "mine", small) / "model.safetensors"
    whole = file.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        refused(tmp_path / "mine", r"model\.safetensors' is no whole safetensors file .*: download it again")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.float8_e4m3fn])
def test_numbers_of_other_formats_are_refused(small: Checkpoint, tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = renamed(small)
    name = "model.decoder.layers.0.fc1.weight"
    tensors[name] = tensors[name].to(dtype)
    refused(
        folder(tmp_path / "mine", small, tensors),
        rf"model\.safetensors': {name} is {str(dtype).removeprefix('torch.')}; float32, float16 and bfloat16",
    )


@pytest.mark.parametrize(
    ("key", "value"), [("feature_size", 128), ("sampling_rate", 8_000), ("n_fft", 512), ("hop_length", 80)]
)
def test_another_spectrogram_is_refused(small: Checkpoint, tmp_path: Path, key: str, value: int) -> None:
    path = folder(tmp_path / "mine", small)
    usual = {"feature_size": 80, "sampling_rate": 16_000, "n_fft": 400, "hop_length": 160, "chunk_length": 30}
    write_json(path / "preprocessor_config.json", usual)
    assert load_checkpoint(str(path)).dims == small.dims
    write_json(path / "preprocessor_config.json", usual | {key: value})
    refused(path, rf"preprocessor_config\.json': {key} is {value}, must be {usual[key]} for this model")


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    write_json(tmp_path / "adapter_config.json", {})
    refused(tmp_path, "holds a LoRA adapter .*: name it in engine.adapter")


def test_suppressed_tokens_of_its_own_take_the_place_of_non_speech_ones(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    usual = checkpoint.tokenizer.suppressed_tokens((-1,))
    path = folder(tmp_path / "mine", checkpoint, generation={"suppress_tokens": list(usual)})
    assert load_checkpoint(str(path)).suppress_tokens is None, "OpenAI's own list"
    never = checkpoint.tokenizer.never_sampled
    for own in ([], [7, 90]):
        write_json(path / "generation_config.json", {"suppress_tokens": own})
        tokenizer = load_checkpoint(str(path)).tokenizer
        assert tokenizer.suppressed_tokens((-1,)) == tuple(sorted({*own, *never}))
        assert tokenizer.suppressed_tokens(()) == (), "a request can still ask for none"
    write_json(path / "generation_config.json", {"suppress_tokens": [checkpoint.dims.n_vocab]})
    with pytest.raises(ConfigError, match="suppress_tokens must be token ids below"):
        load_checkpoint(str(path))
