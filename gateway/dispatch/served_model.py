"""One model as the gateway serves it: its names, its dispatcher, and whether it is in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from asr.engine import ModelSpec
from gateway.api_errors import NotReady
from gateway.dispatch.dispatcher import Dispatcher
from gateway.settings import ModelSettings

State = Literal["ready", "loading", "down", "unloading", "unloaded"]
FAILED_S = 30.0  # after a load that failed, the next one waits for this time; callers get the reason


@dataclass(slots=True, eq=False)
class ServedModel:
    """A model under its name in TorchServe, and the dispatcher that sends windows to its upstreams."""

    name: str
    settings: ModelSettings
    dispatcher: Dispatcher
    is_loaded: bool = True  # TorchServe keeps workers of it, dead ones that it starts again included
    is_loading: bool = False
    is_leaving: bool = False  # it takes no further request, and goes when the last one is done
    users: int = 0  # requests that need it now
    used_at: float = -math.inf  # when the last of them came or left
    loads: int = 0  # since the gateway's start
    failure: str = ""  # why the last load failed
    failed_at: float = -math.inf

    @property
    def spec(self) -> ModelSpec:
        """What the model is; raises NotReady until an upstream has described it."""
        return self.dispatcher.spec

    @property
    def state(self) -> State:
        """Whether a worker answers; "loading" until the first one did."""
        if self.is_leaving:
            return "unloading"
        if self.is_loading:
            return "loading"
        if not self.is_loaded:
            return "unloaded"
        if self.dispatcher.ready:
            return "ready"
        return "down" if self.dispatcher.is_known else "loading"

    @property
    def is_up(self) -> bool:
        """Whether its windows may be sent; they wait where the workers are down."""
        return self.is_loaded and not self.is_loading

    def may_answer(self, now: float) -> bool:
        """Whether a request is answered, perhaps after the model has been loaded."""
        return self.dispatcher.ready if self.is_up else not self.has_failed(now)

    def has_failed(self, now: float) -> bool:
        """Whether a load has failed a moment ago."""
        return now - self.failed_at < FAILED_S


class NotLoaded(NotReady):
    """A model must be loaded before more can be said."""

    def __init__(self, model: ServedModel) -> None:
        super().__init__(f"the model {model.name} is not loaded yet; try again in a moment")
        self.model = model
