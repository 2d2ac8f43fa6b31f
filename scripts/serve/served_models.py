"""The models of one server: what each is called, where its weights lie, and its model-config.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
        configs[each.name] = settings.with_queue(config)
    workers = sum(config["minWorkers"] for config in configs.values())
    for config in configs.values():
        config["handler"]["engine"]["workers"] = workers
    return configs


def gateway_variables(served: Sequence[Served], aliases: Sequence[str]) -> dict[str, str]:
    """What the gateway must know of the models; nothing where there is one without names of its own.

    aliases: of the default model in config/gateway.yaml.
    """
    default, *others = served
    variables = {}
    if default.row.aliases:
        variables["GATEWAY_UPSTREAM__ALIASES"] = json.dumps([*aliases, *default.row.aliases])
    if default.row.fallback:
        variables["GATEWAY_UPSTREAM__FALLBACK"] = default.row.fallback
    if others:
        rows = {each.name: each.row.model_dump(include={"aliases", "languages", "fallback", "workers"},
                                               exclude_none=True) for each in others}  # fmt: skip
        variables["GATEWAY_UPSTREAM__MODELS"] = json.dumps(rows)
    return variables
