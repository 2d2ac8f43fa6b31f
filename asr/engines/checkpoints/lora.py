"""A LoRA adapter as peft writes it, merged into the weights it was trained on: W + scale * B A."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.checkpoint_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from asr.config import ConfigError
from asr.engines.checkpoints.huggingface_names import PREFIX, huggingface_name
from asr.engines.checkpoints.json_files import read_table
from asr.engines.checkpoints.tensor_files import Stored, read_tensors

logger = logging.getLogger(__name__)

PEFT_PREFIX = "base_model.model."
PART = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
# What peft can add to plain LoRA and would be left out here: key → the value that adds nothing
PLAIN = {
    "use_dora": False,
    "use_qalora": False,
    "fan_in_fan_out": False,
    "lora_bias": False,
    "layer_replication": None,
    "trainable_token_indices": None,
    "target_parameters": None,
    "alora_invocation_tokens": None,
}
PLAIN_STARTS = (True, False, None, "gaussian")  # init_lora_weights; others, as pissa, change the base as well


@dataclass(frozen=True, slots=True)
class _Scales:
    """The factor of every module's product (peft/tuners/lora/layer.py, update_layer)."""

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    use_rslora: bool

    def of(self, module: str) -> float:
        rank: int = _matching(self.rank_pattern, module, self.rank)
        alpha: float = _matching(self.alpha_pattern, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)


def with_adapter(state: Mapping[str, Tensor], adapter: Path) -> dict[str, Tensor]:
    """`state` with the adapter in the folder `adapter` merged into it, in the format of each weight.

    state: weights by OpenAI's names. Raises ConfigError for an adapter of another model or another kind.
    """
    scales = _scales(adapter / ADAPTER_CONFIG)
    ours = {huggingface_name(name): name for name in state}
    merged = dict(state)
    parts: dict[str, dict[str, Stored]] = {}
    for name, stored in read_tensors(adapter, ADAPTER_WEIGHTS).items():
        short = name.removeprefix(PEFT_PREFIX).removeprefix(PREFIX)
        if match := PART.fullmatch(short):
            parts.setdefault(match["module"], {})[match["side"]] = stored
        elif short in ours:  # trained whole: peft's modules_to_save, and biases
            merged[ours[short]] = _replaced(state[ours[short]], stored, name)
        else:
            raise ConfigError(f"{str(stored.file)!r} holds {name}, which is neither plain LoRA nor Whisper's")
    for module, pair in parts.items():
        target = ours.get(f"{module}.weight")
        file = next(iter(pair.values())).file
        if target is None or pair.keys() != {"A", "B"}:
            raise ConfigError(f"{str(file)!r}: {module} is no matrix of the model, or has one part of two")
        merged[target] = _sum(merged[target], pair, scales.of(module), module)
    logger.info("LoRA adapter %s merged into %d weights", adapter, len(parts))
    return merged


def _scales(file: Path) -> _Scales:
    config = read_table(file)
    if (kind := config.get("peft_type")) != "LORA":
        raise ConfigError(f"{str(file)!r}: peft_type is {kind!r}, only LORA can be merged")
    for key, value in PLAIN.items():
        if config.get(key, value) not in (value, None):
            raise ConfigError(f"{str(file)!r}: {key} is {config[key]!r}, only plain LoRA can be merged")
    if (start := config.get("init_lora_weights")) not in PLAIN_STARTS:
        raise ConfigError(
            f"{str(file)!r}: init_lora_weights is {start!r}, which changes the base too: merge it first"
        )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    ranks, alphas = (config.get(key) or {} for key in ("rank_pattern", "alpha_pattern"))
    if (
        not _are_numbers({"r": rank, "lora_alpha": alpha})
        or not _are_numbers(ranks)
        or not _are_numbers(alphas)
    ):
        raise ConfigError(
            f"{str(file)!r}: r and lora_alpha, and those of its patterns, must be numbers above 0"
        )
    return _Scales(int(rank or 0), float(alpha or 0), ranks, alphas, bool(config.get("use_rslora")))


def _are_numbers(table: object) -> bool:
    values = table.values() if isinstance(table, dict) else [table]
    return all(isinstance(value, int | float) and value > 0 for value in values)


def _matching(pattern: Mapping[str, Any], module: str, usual: Any) -> Any:
    """The value of the first key that ends the module's name (peft/utils/other.py, get_pattern_key)."""
    for key, value in pattern.items():
        if re.fullmatch(rf"(.*\.)?({key})", PREFIX + module):
            return value
    return usual


def _replaced(old: Tensor, stored: Stored, name: str) -> Tensor:
    if stored.tensor.shape != old.shape:
        raise ConfigError(
            f"{str(stored.file)!r}: {name} has shape {tuple(stored.tensor.shape)}, the model's weight "
            f"{tuple(old.shape)}: the adapter was trained on another model"
        )
    return stored.tensor.to(old.dtype)


def _sum(weight: Tensor, pair: Mapping[str, Stored], scale: float, module: str) -> Tensor:
    """The merged matrix, computed in float32."""
    up, down = pair["B"].tensor, pair["A"].tensor
    fits = up.ndim == down.ndim == weight.ndim == 2 and up.shape[1] == down.shape[0]
    if not fits or (up.shape[0], down.shape[1]) != tuple(weight.shape):
        raise ConfigError(
            f"{str(pair['A'].file)!r}: {module} has parts {tuple(down.shape)} and {tuple(up.shape)}, the "
            f"model's weight {tuple(weight.shape)}: the adapter was trained on another model"
        )
    return torch.addmm(weight.float(), up.float(), down.float(), alpha=scale).to(weight.dtype)
