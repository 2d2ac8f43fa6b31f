"""The models of one server: what each is called, where its weights lie, and its model-config.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr.checkpoint_files import Kind, kind_of
from scripts.serve import models, settings
from scripts.serve.arguments import ServeOptions
from scripts.serve.model_table import ModelRow, read_table, table_of_words
from scripts.serve.models import Weights

TABLE_FILE = "models.yaml"
DEFAULT_MODEL = "base"


@dataclass(frozen=True, slots=True)
class Served:
    """One model to serve."""

    name: str
    row: ModelRow
    weights: Weights

    @property
    def model(self) -> str:
        """The MODEL that was asked for."""
        return self.row.checkpoint

    @property
    def is_on_demand(self) -> bool:
        """Whether it loads with its first request, and not at start."""
        return self.row.load == "on_demand"


def served_models(options: ServeOptions, root: Path, called_from: Path) -> tuple[Served, ...]:
    """The models of the command line, else of config/models.yaml, else base; the default one first.

    A path in the table starts at the repository, one on the command line where the caller is; raises
    ServeError.
    """
    table = table_of_words(options.models) if options.models else read_table(root / "config" / TABLE_FILE)
    from_file = table is not None and not options.models
    table = table or table_of_words([DEFAULT_MODEL])
    start = root if from_file else called_from
    return tuple(
        Served(name, row, models.weights_of(row.checkpoint, root / "whisper-models", start, options.source))
        for name, row in table.rows.items()
    )


def fetched(
    served: Sequence[Served], options: ServeOptions, environ: Mapping[str, str], say: Callable[[str], None]
) -> tuple[Served, ...]:
    """The same models with their weights on this machine; raises ServeError."""
    return tuple(
        replace(each, weights=models.ensure_weights(each.model, each.weights, environ, options.source, say))
        for each in served
    )


def model_configs(
    base: Mapping[str, Any], options: ServeOptions, served: Sequence[Served]
) -> dict[str, dict[str, Any]]:
    """model-config.yaml of every model by name; all workers share the machine's cores."""
    configs = {}
    for each in served:
        weights, row = each.weights, each.row
        config = settings.effective_model_config(base, options, weights.checkpoint, weights.adapter)
        if row.workers is not None:
            config["minWorkers"] = config["maxWorkers"] = row.workers
        if row.batch_size is not None:
            config["batchSize"] = config["handler"]["engine"]["max_batch_size"] = row.batch_size
        if row.device is not None:
            settings.put_device(config, row.device)
        config["handler"]["engine"] |= _family_settings(each)
        configs[each.name] = settings.with_queue(config)
    workers = sum(config["minWorkers"] for config in configs.values())
    for config in configs.values():
        config["handler"]["engine"]["workers"] = workers
    return configs


def _family_settings(served: Served) -> dict[str, Any]:
    """What the table says of a family beside Whisper; its languages are those that it was trained on."""
    row = served.row
    keys = row.model_dump(include={"family", "search_paths", "endpoints"}, exclude_none=True)
    if row.languages and kind_of(served.weights.checkpoint) is Kind.SHERPA:
        keys["languages"] = list(row.languages)
    return keys


def for_torchserve(
    configs: Mapping[str, Mapping[str, Any]], served: Sequence[Served]
) -> dict[str, dict[str, Any]]:
    """The same configurations, those of models on demand without workers, which the gateway starts."""
    none = {"minWorkers": 0, "maxWorkers": 0}
    on_demand = {each.name for each in served if each.is_on_demand}
    return {name: {**config, **(none if name in on_demand else {})} for name, config in configs.items()}


def on_demand_properties(
    configs: Mapping[str, Mapping[str, Any]], served: Sequence[Served]
) -> dict[str, str]:
    """What config.properties needs so that a model on demand is registered and has no worker at first.

    TorchServe 0.12 takes no number of workers below 1 but this default, as long as the most is above it.
    """
    most = {each.name: {"1.0": {"maxWorkers": configs[each.name]["minWorkers"]}}
            for each in served if each.is_on_demand}  # fmt: skip
    return {"default_workers_per_model": "-1", "models": json.dumps(most)} if most else {}
