"""Signals that end the server: raised at once, or when the process that is being started is noted."""

import os
import signal
from collections.abc import Iterator

import pytest

from scripts.serve import stop_signals
from scripts.serve.serve_error import Stop


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ours for the test, the runner's after it."""
    before = {number: signal.getsignal(number) for number in stop_signals.STOPS}
    monkeypatch.setattr(stop_signals, "_state", stop_signals._State())
    stop_signals.raise_stop_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", stop_signals.STOPS)
def test_a_signal_raises_stop_at_once(number: int) -> None:
    with pytest.raises(Stop) as raised:
        os.kill(os.getpid(), number)
    assert raised.value.args == (number,)


def test_a_signal_waits_until_the_process_is_noted() -> None:
    noted = []

    def start() -> None:
        with stop_signals.held():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)  # does nothing
            noted.append("process")

    with pytest.raises(Stop) as raised:
        start()
    assert noted == ["process"]
    assert raised.value.args == (signal.SIGTERM,)


def test_a_block_without_a_signal_ends_as_always() -> None:
    with stop_signals.held():
        pass
    with pytest.raises(Stop):
        os.kill(os.getpid(), signal.SIGHUP)
