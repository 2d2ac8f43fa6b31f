"""Small models, each as upstream's module and as the file our engine loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import whisper
from whisper.model import Whisper

from asr.config import EngineConfig
from asr.engines.pytorch.torch_engine import TorchEngine
from tests.asr import checkpoints


@dataclass(frozen=True)
class Pair:
    """The same weights in both implementations."""

    path: Path
    reference: Whisper
    engine: TorchEngine

    def engine_with(self, **config: object) -> TorchEngine:
        return make_engine(self.path, **config)


def make_engine(path: Path, **config: object) -> TorchEngine:
    settings = {"precision": "float32", "device": "cpu", "threads": 1, "loop_guard": False} | config
    engine = TorchEngine(EngineConfig(model=str(path), **settings))
    engine.load()
    return engine


@pytest.fixture(scope="session")
def make_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    def make(
        n_vocab: int = checkpoints.MULTILINGUAL,
        n_mels: int = 80,
        seed: int = 0,
        end_weight: float = 2.5,
        **sizes: int,
    ) -> Pair:
        torch.set_num_threads(1)
        folder = tmp_path_factory.mktemp("model")
        model = checkpoints.random_model(checkpoints.dims(n_vocab, n_mels, **sizes), seed, end_weight)
        path = checkpoints.save_checkpoint(model, folder / "random.pt")
        return Pair(path, whisper.load_model(str(path), device="cpu"), make_engine(path))

    return make


@pytest.fixture(scope="session")
def multilingual(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()


@pytest.fixture(scope="session")
def english_only(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair(checkpoints.ENGLISH_ONLY, seed=1)


@pytest.fixture(scope="session")
def large_v3(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair(checkpoints.LARGE_V3, n_mels=128, seed=2)
