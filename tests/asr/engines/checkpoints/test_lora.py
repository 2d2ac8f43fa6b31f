"""A LoRA adapter merged at load: the numbers that peft would merge, and no other model's adapter."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from asr.checkpoint_files import sha256_of
from asr.engines.checkpoints.checkpoint import Checkpoint, load_checkpoint
from tests.asr.engines.checkpoints.conftest import refused
from tests.asr.huggingface_folders import adapter, lora_parts, write_json

QUERY, MLP = "decoder.layers.0.encoder_attn.q_proj", "encoder.layers.1.fc1"
OURS = {QUERY: "decoder.blocks.0.cross_attn.query.weight", MLP: "encoder.blocks.1.mlp.0.weight"}


def merged(small_file: Path, path: Path) -> Checkpoint:
    return load_checkpoint(str(small_file), str(path))


def product(parts: dict[str, torch.Tensor], module: str) -> torch.Tensor:
    """B A, spelled out."""
    down = parts[f"base_model.model.model.{module}.lora_A.weight"]
    up = parts[f"base_model.model.model.{module}.lora_B.weight"]
    return torch.stack([sum(row[k] * down[k] for k in range(len(down))) for row in up])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changed", "scale"),
    [
        ({}, 2.0),
        ({"lora_alpha": 3}, 0.75),
        ({"use_rslora": True}, 4.0),
        ({"alpha_pattern": {"q_proj": 16, "fc1": 16}}, 4.0),
        ({"rank_pattern": {"model.decoder.layers.0.encoder_attn.q_proj": 8, ".*fc1": 8}}, 1.0),
    ],
)
def test_what_is_merged_is_scale_times_b_a(
    small: Checkpoint,
    small_file: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    changed: dict[str, object],
    scale: float,
) -> None:
    parts = lora_parts(small, QUERY, MLP)
    with caplog.at_level(logging.INFO):
        read = merged(small_file, adapter(tmp_path / "hindi-lora", parts, **changed))
    assert read.name == "hindi-lora"
    assert f"LoRA adapter {tmp_path / 'hindi-lora'} merged into 2 weights" in caplog.text
    for module, name in OURS.items():
        wanted = small.state[name] + scale * product(parts, module)
        assert torch.allclose(read.state[name], wanted, atol=1e-5), name
    for name in small.state.keys() - OURS.values():
        assert torch.equal(read.state[name], small.state[name]), name


def test_a_half_precision_model_stays_one(small: Checkpoint, tmp_path: Path) -> None:
    halves = {name: tensor.half() for name, tensor in small.state.items()}
    dims = {name: getattr(small.dims, name) for name in small.dims.__slots__}
    torch.save({"dims": dims, "model_state_dict": halves}, tmp_path / "half.pt")
    read = merged(tmp_path / "half.pt", adapter(tmp_path / "lora", lora_parts(small, QUERY)))
    assert read.state[OURS[QUERY]].dtype == torch.float16
    assert not torch.equal(read.state[OURS[QUERY]], halves[OURS[QUERY]])


def test_biases_and_layers_that_were_trained_whole_replace_the_models(
    small: Checkpoint, small_file: Path, tmp_path: Path
) -> None:
    parts = lora_parts(small, MLP)
    parts["base_model.model.model.decoder.layer_norm.weight"] = torch.full((64,), 3.0)
    parts[f"base_model.model.model.{QUERY}.bias"] = torch.full((64,), 5.0)
    read = merged(small_file, adapter(tmp_path / "lora", parts, bias="all", modules_to_save=["layer_norm"]))
    assert torch.equal(read.state["decoder.ln.weight"], torch.full((64,), 3.0))
    assert torch.equal(read.state["decoder.blocks.0.cross_attn.query.bias"], torch.full((64,), 5.0))


def test_older_adapters_are_torchs(small: Checkpoint, small_file: Path, tmp_path: Path) -> None:
    parts = lora_parts(small, MLP)
    path = adapter(tmp_path / "lora", parts)
    expected = merged(small_file, path).state[OURS[MLP]]
    (path / "adapter_model.safetensors").unlink()
    torch.save(parts, path / "adapter_model.bin")
    assert torch.equal(merged(small_file, path).state[OURS[MLP]], expected)


def test_the_same_weights_with_another_factor_are_another_model(
    small: Checkpoint, small_file: Path, tmp_path: Path
) -> None:
    """What keeps converted models apart."""
    path = adapter(tmp_path / "lora", lora_parts(small, MLP))
    before = sha256_of([small_file, path]).hexdigest()
    adapter(path, lora_parts(small, MLP), lora_alpha=9)
    assert sha256_of([small_file, path]).hexdigest() != before != sha256_of([small_file]).hexdigest()


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "peft_type is 'PREFIX_TUNING', only LORA can be merged"),
        ({"use_dora": True}, "use_dora is True, only plain LoRA"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is True"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base too"),
        ({"layer_replication": [[0, 1]]}, "layer_replication is"),
        ({"r": 0}, "r and lora_alpha"),
        ({"lora_alpha": "8"}, "r and lora_alpha"),
        ({"rank_pattern": {"q_proj": None}}, "r and lora_alpha"),
    ],
)
def test_another_kind_of_adapter_is_refused(
    small: Checkpoint, small_file: Path, tmp_path: Path, changed: dict[str, object], match: str
) -> None:
    path = adapter(tmp_path / "lora", lora_parts(small, QUERY), **changed)
    refused(small_file, rf"adapter_config\.json'.*{match}", path)


def test_another_models_adapter_is_refused(small: Checkpoint, small_file: Path, tmp_path: Path) -> None:
    parts = lora_parts(small, QUERY)
    beyond = {name.replace("layers.0", "layers.9"): tensor for name, tensor in parts.items()}
    refused(small_file, r"safetensors': decoder\.layers\.9\.", adapter(tmp_path / "deep", beyond))
    wide = {
        name: torch.cat([tensor] * 2, dim=int("lora_A" in name)) if "lora" in name else tensor
        for name, tensor in parts.items()
    }
    refused(small_file, r"safetensors': .*trained on another model", adapter(tmp_path / "wide", wide))
    whole = {"base_model.model.model.decoder.layer_norm.weight": torch.ones(32)}
    refused(small_file, r"has shape \(32,\), the model's weight \(64,\)", adapter(tmp_path / "ln", whole))


def test_what_is_not_plain_lora_is_refused_by_name(
    small: Checkpoint, small_file: Path, tmp_path: Path
) -> None:
    parts = lora_parts(small, QUERY)
    odd = f"base_model.model.model.{QUERY}.lora_magnitude_vector"
    path = adapter(tmp_path / "dora", {**parts, odd: torch.ones(64)})
    refused(small_file, rf"safetensors' holds {odd}", path)
    del parts[f"base_model.model.model.{QUERY}.lora_B.weight"]
    refused(small_file, "one part of two", adapter(tmp_path / "half", parts))


def test_a_folder_that_is_no_adapter_is_refused(small: Checkpoint, small_file: Path, tmp_path: Path) -> None:
    refused(small_file, r"adapter_config\.json' cannot be read", tmp_path)
    write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA", "r": 4, "lora_alpha": 8})
    refused(small_file, "has no weights: it has neither adapter_model.safetensors nor", tmp_path)
