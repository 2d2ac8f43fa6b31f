"""Folders in Hugging Face's format and adapters in peft's, written without transformers and peft."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.checkpoints.huggingface_names import PREFIX, huggingface_name
from asr.engines.checkpoints.vocabulary import vocabulary
from asr.text.tokenizer import tokenizer_for

Tensors = dict[str, Tensor]


def config(checkpoint: Checkpoint) -> dict[str, Any]:
    """What transformers writes to config.json for a model of these sizes, where it concerns the weights."""
    dims = checkpoint.dims
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "activation_function": "gelu",
        "scale_embedding": False,
        "d_model": dims.n_audio_state,
        "encoder_layers": dims.n_audio_layer,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "decoder_layers": dims.n_text_layer,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_ffn_dim": 4 * dims.n_text_state,
        "max_source_positions": dims.n_audio_ctx,
        "max_target_positions": dims.n_text_ctx,
        "num_mel_bins": dims.n_mels,
        "vocab_size": dims.n_vocab,
    }


def renamed(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, prefix: str = PREFIX) -> Tensors:
    """A checkpoint's tensors under transformers' names."""
    return {
        prefix + huggingface_name(name): tensor.to(dtype).contiguous()
        for name, tensor in checkpoint.state.items()
    }


def folder(
    path: Path,
    checkpoint: Checkpoint,
    tensors: Mapping[str, Tensor] | None = None,
    *,
    generation: Mapping[str, Any] | None = None,
    **changed: Any,
) -> Path:
    """A Hugging Face folder, one file of weights and no tokenizer; `changed` goes into config.json."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", config(checkpoint) | changed)
    if generation is not None:
        write_json(path / "generation_config.json", generation)
    save_file(dict(tensors or renamed(checkpoint)), path / "model.safetensors", {"format": "pt"})
    return path


def shard(path: Path, parts: int = 3) -> Path:
    """The same folder with its weights in `parts` files and an index of them."""
    from safetensors.torch import load_file

    tensors = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    weight_map = {}
    for part in range(parts):
        name = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        chosen = sorted(tensors)[part::parts]
        save_file({each: tensors[each] for each in chosen}, path / name, {"format": "pt"})
        weight_map |= dict.fromkeys(chosen, name)
    write_json(path / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return path


def words(checkpoint: Checkpoint) -> list[str]:
    dims = checkpoint.dims
    return vocabulary(tokenizer_for(dims.multilingual, dims.num_languages), dims.n_vocab)


def write_tokenizer(path: Path, tokens: list[str], eot: int) -> None:
    """The four files in which a folder can spell its tokens; those from `eot` on are added ones."""
    text = {token: number for number, token in enumerate(tokens[: eot + 1])}
    added = {token: number for number, token in enumerate(tokens) if number >= eot}
    write_json(path / "vocab.json", text)
    write_json(path / "added_tokens.json", added)
    entries = [{"id": number, "content": token, "special": True} for token, number in added.items()]
    write_json(path / "tokenizer.json", {"model": {"type": "BPE", "vocab": text}, "added_tokens": entries})
    decoder = {str(entry["id"]): {"content": entry["content"]} for entry in entries}
    write_json(path / "tokenizer_config.json", {"added_tokens_decoder": decoder})


def adapter(path: Path, tensors: Mapping[str, Tensor], **changed: Any) -> Path:
    """A folder with a LoRA adapter of rank 4; `changed` goes into adapter_config.json."""
    path.mkdir(parents=True, exist_ok=True)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "fan_in_fan_out": False}
    settings |= {
        "base_model_name_or_path": "openai/whisper-small",
        "modules_to_save": None,
        "use_dora": False,
    }
    write_json(path / "adapter_config.json", settings | changed)
    save_file(dict(tensors), path / "adapter_model.safetensors", {"format": "pt"})
    return path


def lora_parts(checkpoint: Checkpoint, *modules: str, rank: int = 4) -> Tensors:
    """Random A and B of these modules, under the names that peft gives them."""
    generator = torch.Generator().manual_seed(1)
    ours = {huggingface_name(name): tensor for name, tensor in checkpoint.state.items()}
    tensors: Tensors = {}
    for module in modules:
        rows, columns = ours[f"{module}.weight"].shape
        name = f"base_model.model.{PREFIX}{module}"
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, columns, generator=generator) / columns**0.5
        tensors[f"{name}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) / 2
    return tensors


def write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
