"""Well-known public models as their publishers describe them: every size is one that can be read."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest

from asr.engines.checkpoints.checkpoint import Checkpoint, load_checkpoint
from asr.engines.checkpoints.dimensions import expected_shapes
from asr.engines.checkpoints.huggingface_folder import config_dims
from asr.engines.checkpoints.huggingface_tokens import check_tokens, own_suppressed_tokens
from tests.asr import checkpoints
from tests.asr.huggingface_folders import folder, write_json

PUBLISHED = json.loads((Path(__file__).parents[2] / "data" / "published_models.json").read_text())
FIXED = {"model_type": "whisper", "max_source_positions": 1500, "max_target_positions": 448}


@pytest.mark.parametrize("model", [pytest.param(each, id=each["name"]) for each in PUBLISHED["models"]])
def test_its_config_makes_a_model_of_its_published_size(model: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", FIXED | model["config"])
    dims = config_dims(tmp_path / "config.json")
    millions = sum(prod(shape) for shape in expected_shapes(dims).values()) / 1e6
    assert millions == pytest.approx(model["millions"], rel=0.01)
    assert dims.multilingual == (not model["name"].endswith(".en"))


def test_large_v3s_tokens_are_ours(tmp_path: Path) -> None:
    generation = PUBLISHED["large-v3"]
    write_json(tmp_path / "config.json", FIXED | PUBLISHED["models"][1]["config"])
    dims = config_dims(tmp_path / "config.json")
    check_tokens(tmp_path, dims, generation)
    assert len(generation["lang_to_id"]) == 95
    assert own_suppressed_tokens(generation, dims, tmp_path) is None


def test_older_lists_lack_the_task_tokens_and_mean_the_same(small: Checkpoint, tmp_path: Path) -> None:
    """transformers' issue 22465; they are never sampled here anyway."""
    tokenizer = small.tokenizer
    older = set(tokenizer.suppressed_tokens((-1,))) - {tokenizer.transcribe, tokenizer.translate}
    assert own_suppressed_tokens({"suppress_tokens": sorted(older)}, small.dims, tmp_path) is None


def test_turbos_heads_are_known_by_its_folders_name(tmp_path: Path) -> None:
    """Without a generation_config.json; with one, it has them itself."""
    sizes = checkpoints.dims(n_vocab=checkpoints.LARGE_V3, n_mels=128, state=80, layers=4, heads=20)
    model = load_checkpoint(str(checkpoints.random_checkpoint(tmp_path, sizes)))
    path = folder(tmp_path / "whisper-large-v3-turbo", model)
    heads = [list(head) for head in load_checkpoint(str(path)).alignment_heads]
    assert heads == PUBLISHED["large-v3-turbo"]["alignment_heads"]
