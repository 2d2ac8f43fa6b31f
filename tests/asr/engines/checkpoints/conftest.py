"""Small random checkpoints in OpenAI's format, as they are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.config import ConfigError
from asr.engines.checkpoints.checkpoint import Checkpoint, load_checkpoint
from tests.asr import checkpoints


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.random_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def small(small_file: Path) -> Checkpoint:
    return load_checkpoint(str(small_file))


@pytest.fixture(
    scope="session", params=[checkpoints.MULTILINGUAL, checkpoints.ENGLISH_ONLY, checkpoints.LARGE_V3]
)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """One of every vocabulary."""
    n_mels = 128 if request.param == checkpoints.LARGE_V3 else 80
    sizes = checkpoints.dims(n_vocab=request.param, n_mels=n_mels)
    return load_checkpoint(str(checkpoints.random_checkpoint(tmp_path_factory.mktemp("model"), sizes)))


def refused(path: Path, match: str, adapter: Path | None = None) -> None:
    """Loading ends in one line that has `match`."""
    with pytest.raises(ConfigError, match=match) as refusal:
        load_checkpoint(str(path), None if adapter is None else str(adapter))
    assert "\n" not in str(refusal.value)
