"""What the gateway must know of the models: their names and languages, and what they take in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scripts.serve.memory import MB, in_mb, memory_of
from scripts.serve.served_models import Served


@dataclass(frozen=True, slots=True)
class GatewayModels:
    """The models as the gateway's settings name them."""

    served: Sequence[Served]
    workers: Mapping[str, int]
    needs_mb: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # model → device → megabytes
    memory_mb: Mapping[str, int] = field(default_factory=dict)  # by device, for models on demand

    def variables(self, aliases: Sequence[str]) -> dict[str, str]:
        """The gateway's variables; nothing where there is one model without names of its own.

        aliases: of the default model in config/gateway.yaml.
        """
        default, *others = self.served
        variables = {}
        if default.row.aliases:
            variables["GATEWAY_UPSTREAM__ALIASES"] = json.dumps([*aliases, *default.row.aliases])
        if default.row.fallback:
            variables["GATEWAY_UPSTREAM__FALLBACK"] = default.row.fallback
        if others:
            rows = {each.name: self._row(each) for each in others}
            variables["GATEWAY_UPSTREAM__MODELS"] = json.dumps(rows)
        if self.memory_mb:
            variables["GATEWAY_UPSTREAM__MEMORY_MB"] = json.dumps(self.memory_mb)
        return variables

    def with_memory(self, configs: Mapping[str, Mapping[str, Any]], root: Path) -> GatewayModels:
        """The same with what the models need; raises ServeError where they do not fit together.

        configs: each model's model-config.yaml, weights in place.
        """
        memory = memory_of(self.served, configs, root)
        left = memory.for_on_demand
        return replace(
            self,
            needs_mb={need.name: in_mb(need.by_device) for need in memory.needs},
            memory_mb={device: size // MB for device, size in left.items()},
        )

    def _row(self, served: Served) -> dict[str, Any]:
        keys = {"aliases", "languages", "fallback", "load", "idle_s"}
        row = served.row.model_dump(include=keys, exclude_none=True, exclude_defaults=True)
        row["workers"] = self.workers[served.name]
        if served.is_on_demand and served.name in self.needs_mb:
            row["memory_mb"] = self.needs_mb[served.name]
        return row
