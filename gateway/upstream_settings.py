"""The settings `upstream`: the TorchServe servers, and the models that they serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyHttpUrl, Field, field_validator, model_validator

from asr.languages import LANGUAGES
from gateway.setting_types import Count, Names, Positive, Section, Urls


class ModelSettings(Section):
    """One model beside the default one, under its name in TorchServe."""

    aliases: Names = ()  # further names that callers may use
    languages: Names = ()  # requests in these go to it, unless they name a model beside the default one
    fallback: str | None = None  # the model that answers while no worker of this one does
    workers: Count = 1  # as in `upstream`; of a model on demand, as many are started
    load: Literal["start", "on_demand"] = "start"  # on_demand: with its first request
    idle_s: Positive | None = None  # a model on demand goes when nobody has used it for this time
    memory_mb: dict[str, Count] = Field(default_factory=dict)  # what its workers take, by device: cpu, cuda

    @field_validator("languages")
    @classmethod
    def _are_whispers(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [code for code in languages if code not in LANGUAGES]:
            raise ValueError(f"{', '.join(unknown)} must be Whisper's codes: en, hi, mr …")
        return languages


class UpstreamSettings(Section):
    """The TorchServe servers that decode windows."""

    urls: Urls = (AnyHttpUrl("http://127.0.0.1:8080"),)
    management_urls: Urls = ()  # in the order of `urls`; to follow the number of workers
    model: str = "whisper"  # its name in TorchServe
    aliases: Names = ("whisper-1",)  # further names that callers may use
    fallback: str | None = None  # another model that answers while no worker of this one does
    # beside `model`, which answers what none of them takes
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    key_file: Path | None = None  # TorchServe's key_file.json, if its token authorization is on
    workers: Count = 1  # per upstream, if there is no management address to ask
    batches_outstanding: Positive = 3.0  # in flight per worker: measured to keep batches full
    timeout_s: Positive = 900.0  # for one window
    max_deaths: Count = 2  # workers that a window may kill before its request fails
    no_memory_s: Positive = 60.0  # how long a window is retried while no worker has memory for it
    # for models on demand together, by device; one that is not named has room for all
    memory_mb: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    # a request's longest wait for its model to load; 0: 503 with Retry-After at once, while it loads
    load_wait_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 120.0

    @model_validator(mode="after")
    def _managements_belong_to_upstreams(self) -> UpstreamSettings:
        if len(self.management_urls) > len(self.urls):
            raise ValueError(
                f"management_urls has {len(self.management_urls)} addresses, must be in the order of urls, "
                f"which has {len(self.urls)}"
            )
        return self

    @model_validator(mode="after")
    def _somebody_loads(self) -> UpstreamSettings:
        on_demand = [name for name, model in self.models.items() if model.load == "on_demand"]
        if on_demand and len(self.management_urls) < len(self.urls):
            raise ValueError(
                f"{on_demand[0]} loads on demand: management_urls must name one for each of urls"
            )
        return self

    @model_validator(mode="after")
    def _names_are_clear(self) -> UpstreamSettings:
        taken: dict[str, str] = {}
        every = {self.model: ModelSettings(aliases=self.aliases, fallback=self.fallback), **self.models}
        if self.model in self.models:
            raise ValueError(f"{self.model} is the default model and one of models too")
        for name, model in every.items():
            for claim in (name, *model.aliases, *(f"the language {code}" for code in model.languages)):
                if taken.setdefault(claim, name) != name:
                    raise ValueError(f"{claim} belongs to two models, {taken[claim]} and {name}")
            if model.fallback is not None and (model.fallback not in every or model.fallback == name):
                raise ValueError(
                    f"the fallback of {name} is {model.fallback!r}, must be another model's name"
                )
        return self
