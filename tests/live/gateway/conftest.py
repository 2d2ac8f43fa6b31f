"""One real TorchServe of small random models for the tests of the dispatcher."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.asr.checkpoints import dims, random_checkpoint
from tests.servers import Server, start_server

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
