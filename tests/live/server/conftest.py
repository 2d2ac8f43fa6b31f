"""One real TorchServe for all server tests: a small checkpoint, low limits, fast batches.

What the server does with requests does not depend on how well the model hears, so the weights are random and
small: answers come in a fraction of a second, and the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asr.containers import tone, wav
from tests.live.server.calls import Api
from tests.servers import Server, start_server

MAX_AUDIO_SECONDS = 20
MAX_UPLOAD_BYTES = 2_000_000
MAX_PROMPT_CHARS = 500
OVERRIDES = {
    "batchSize": 8,
    "maxBatchDelay": 20,
    "handler": {
        # the same text for the same audio whatever shares its batch, so that answers can be compared
        # random weights say little in short windows
        "engine": {
            "precision": "float32",
            "deterministic": True,
            "full_windows": True,
            "max_batch_size": 4,
            "threads": 1,
        },
        "limits": {
            "max_audio_seconds": MAX_AUDIO_SECONDS,
            "max_upload_bytes": MAX_UPLOAD_BYTES,
            "max_prompt_chars": MAX_PROMPT_CHARS,
        },
    },
}


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    checkpoint = random_checkpoint(tmp_path_factory.mktemp("model") / "random.pt")
    running = start_server(checkpoint, tmp_path_factory.mktemp("server"), model_config=OVERRIDES)
    yield running
    running.stop()


@pytest.fixture(scope="package")
def api(server: Server) -> Api:
    return Api(server)


@pytest.fixture(scope="package")
def speech() -> bytes:
    """A WAV that the server answers with some text, in one window."""
    return wav(tone(2.0))


def random_checkpoint(path: Path) -> Path:
    """Writes a checkpoint of seeded random weights in OpenAI's format; it babbles, but always the same."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(7)
    dims = ModelDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=64,
        n_audio_head=1,
        n_audio_layer=1,
        n_vocab=51_865,
        n_text_ctx=448,
        n_text_state=64,
        n_text_head=1,
        n_text_layer=1,
    )
    model = Whisper(dims)
    torch.nn.init.normal_(model.decoder.positional_embedding)  # upstream leaves it as memory was
    torch.save({"dims": dims.__dict__, "model_state_dict": model.state_dict()}, path)
    return path
