"""A model that cannot be loaded beside others: it is named with its reason, and they go on."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.serve import readiness
from scripts.serve.readiness import Probe, check_alive, wait_for_another
from scripts.serve.serve_error import ServeError

REASON = (
    "asr.config.ConfigError: 'models/hindi/model.safetensors' is no whole safetensors file: download it again"
)
LOGS = {
    "model.log": f"Traceback (most recent call last):\n{readiness.FAILED_LOADS[0]}\n{REASON}\n",
    "server.log": "[ERROR] W-9001-hindi_1.0 BatchAggregator: Load model failed: hindi, error: Worker died.\n"
    * 2,
}


class Server:
    """A TorchServe whose other models serve."""

    returncode: int | None = None

    def log_text(self, name: str) -> str:
        return LOGS[name]


def probe(name: str, *, alone: bool = False) -> Probe:
    return Probe(
        f"http://127.0.0.1:9/predictions/{name}", f"http://127.0.0.1:9/models/{name}", None, alone=alone
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(readiness, "POLL_S", 0.01)
    return Server()


def test_its_failure_is_its_own(server: Any) -> None:
    check_alive(server, probe("whisper"))
    with pytest.raises(ServeError, match=r"the worker could not load hindi: .*is no whole safetensors file"):
        check_alive(server, probe("hindi"))
    with pytest.raises(ServeError, match=r"the worker could not load the model: .*is no whole"):
        check_alive(server, probe("whisper", alone=True))


def test_one_line_says_why_it_is_not_served(server: Any) -> None:
    line = wait_for_another(server, probe("hindi"), "hindi", 5)
    assert line == f"hindi is not served, the other models are: the worker could not load hindi: {REASON}"


def test_the_end_of_the_server_is_everybodys(server: Any) -> None:
    server.returncode = 1
    with pytest.raises(ServeError):
        wait_for_another(server, probe("hindi"), "hindi", 5)
