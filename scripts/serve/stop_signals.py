"""The signals that end the server, raised as Stop in whatever the main thread does."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from scripts.serve.serve_error import Stop

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class _State:
    number: int | None = None
    """The first signal that came."""
    is_held: bool = False


_state = _State()  # a process has one set of signals


def raise_stop_on_signals() -> None:
    """From now on the first of these signals raises Stop; later ones do nothing."""
    for number in STOPS:
        signal.signal(number, _stop)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A signal in this block raises Stop at its end.

    A process is started here and noted for its end. The hooks that Python runs after a fork swallow an
    exception, and a child that nobody has noted yet would be left behind.
    """
    before = _state.number
    _state.is_held = True
    try:
        yield
    finally:
        _state.is_held = False
        if _state.number != before:
            raise Stop(_state.number)


def _stop(number: int, _frame: FrameType | None) -> None:
    if _state.number is not None:
        return  # A second Ctrl-C must not leave half of the server running.
    # The signals are not set to be ignored: a child that is started now would ignore them too.
    _state.number = number
    if not _state.is_held:
        raise Stop(number)
