"""What is started again when TorchServe ends by itself, with stand-ins for both processes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.serve import supervise
from scripts.serve.readiness import ServerEnded
from scripts.serve.serve_error import ServeError, Stop


class StandInGateway:
    """Ends when told; its start again is counted."""

    url = "http://127.0.0.1:1"
    launch = SimpleNamespace(needs_key=False)

    def __init__(self) -> None:
        self.is_up = True
        self.starts = 1

    def keep_alive(self) -> None:
        if not self.is_up:
            self.is_up = True
            self.starts += 1

    def check_alive(self) -> None:
        if not self.is_up:
            raise ServeError("the gateway ended")

    def wait_until_ready(self, timeout_s: float, check: Any) -> None:
        self.check_alive()

    def stop(self) -> None:
        self.is_up = False


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> StandInGateway:
    """Of a server whose TorchServe takes it along at its first end, and is stopped in its second life."""
    made = StandInGateway()
    lives = iter(("ends", "stopped"))

    def watch(server: Any, probe: Any, check: Any) -> None:
        if next(lives) == "stopped":
            raise Stop(15)
        made.is_up = False
        raise ServerEnded("TorchServe ended by itself")

    monkeypatch.setattr(supervise, "GatewayProcess", lambda launch: made)
    monkeypatch.setattr(supervise, "TorchServe", lambda launch: SimpleNamespace(stop=lambda: None))
    monkeypatch.setattr(supervise, "_probe", lambda *_: None)
    monkeypatch.setattr(supervise, "wait_until_ready", lambda server, probe, timeout_s, say, check: check())
    monkeypatch.setattr(supervise, "_print_ready", lambda *_: None)
    monkeypatch.setattr(supervise, "watch", watch)
    return made


def launch(folder: Path) -> Any:
    return SimpleNamespace(java="java", properties={}, paths=SimpleNamespace(key_file=folder / "keys"))


WHISPER = SimpleNamespace(name="whisper", is_on_demand=False)
PLAN = supervise.Plan((WHISPER,), SimpleNamespace(startup_timeout_s=1))  # type: ignore[arg-type]


def test_a_gateway_that_never_served_ends_the_start_at_once(gateway: StandInGateway, tmp_path: Path) -> None:
    gateway.is_up = False
    with pytest.raises(ServeError, match="the gateway ended"):
        supervise._run(launch(tmp_path), PLAN, SimpleNamespace())  # type: ignore[arg-type]
    assert gateway.starts == 1


def test_a_gateway_that_ended_while_torchserve_was_away_is_started_again(
    gateway: StandInGateway, tmp_path: Path
) -> None:
    with pytest.raises(Stop):
        supervise._run(launch(tmp_path), PLAN, SimpleNamespace())  # type: ignore[arg-type]
    assert gateway.starts == 2
