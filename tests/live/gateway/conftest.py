"""Real TorchServes: one of small random models for the dispatcher, one of the demo and of other families."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts.serve.model_table import ModelRow
from tests.asr.checkpoints import dims, random_checkpoint
from tests.asr.sherpa_folders import write_ctc, write_transducer
from tests.servers import Server, start_server

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "whisper-models" / "demo.pt"
HINDI = ("▁नमस्ते", "▁दुनिया")  # all that the CTC model writes
DEADLY_OUTPUTS = 300  # of the transducer: a window of more than 12 s ends its worker

OVERRIDES = {
    "batchSize": 8,
    "maxBatchDelay": 20,
    # the same words for the same window whatever shares its batch, so that answers can be compared
    "handler": {
        "engine": {
            "precision": "float32",
            "deterministic": True,
            "full_windows": True,
            "max_batch_size": 8,
            "threads": 1,
            "warm_up": False,  # 3 s of every worker's start, of which there are many
        }
    },
}
ON_DEMAND = ("second", "third")


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It serves `whisper`; `second` and `third` have no worker yet."""
    folder = tmp_path_factory.mktemp("model")
    first, *others = (random_checkpoint(folder, dims(layers=1), seed=seed) for seed in range(3))
    running = start_server(
        first,
        tmp_path_factory.mktemp("server"),
        model_config=OVERRIDES,
        on_demand=dict(zip(ON_DEMAND, others, strict=True)),
    )
    yield running
    running.stop()


@pytest.fixture(scope="package")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It serves the demo as `whisper`, and, with sherpa-onnx, a CTC model and a streaming transducer."""
    folder = tmp_path_factory.mktemp("families")
    beside = {}
    if find_spec("sherpa_onnx"):
        hindi = write_ctc(folder / "ctc", words=HINDI)
        live = write_transducer(folder / "live", deadly_outputs=DEADLY_OUTPUTS)
        beside = {
            "hindi": ModelRow(checkpoint=str(hindi), languages=("hi",)),
            "live": ModelRow(checkpoint=str(live), family="transducer"),
        }
    sample = ROOT / "samples" / "harvard.wav"
    cold = {"handler": {"engine": {"warm_up": False}}}  # as above: three workers here
    folder = tmp_path_factory.mktemp("demo")
    with start_server(DEMO, folder, sample=sample, beside=beside, model_config=cold) as server:
        yield server
