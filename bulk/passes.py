"""One pass over entries as a Ray dataset: shards → blocks → actors → parts. Every step is a map.

Ray keeps a checkpoint of maps only, so windows never become rows: an actor turns a file into one row.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, field
from typing import Any

from bulk.output import Output

log = logging.getLogger(__name__)

ALL_BLOCKS = -1  # may fail: a file that kills its actor costs its block, not the run
QUEUED = 2  # blocks for each one that an actor works on; with fewer Ray never starts a second actor
PASS_TRIES = 3  # Ray's own tasks fail too: one could not import pandas in a process that had just started
TASK_RETRIES = 2  # of a block whose actor died


@dataclass(frozen=True, slots=True)
class Workers:
    """The actors of a run: their class, its arguments, their number and needs."""

    kind: type
    arguments: dict[str, Any]
    actors: int
    block: int  # rows that are written together
    calls: int  # blocks that an actor has at once
    resources: dict[str, float] = field(default_factory=dict)  # num_cpus, num_gpus


def run_pass(
    output: Output,
    shards: str,
    workers: Workers,
    *,
    has_checkpoint: bool,
    retries: int = TASK_RETRIES,
) -> None:
    """Writes a part for each block that its actor survived.

    The checkpoint leaves out what an earlier run wrote, and removes parts that it did not finish.
    """
    import ray.exceptions

    for tries_left in reversed(range(PASS_TRIES)):
        try:
            return _run_once(output, shards, workers, has_checkpoint=has_checkpoint, retries=retries)
        except ray.exceptions.RayError:
            if not tries_left:
                raise
            log.warning("Ray failed; the pass goes on where it was", exc_info=True)


def _run_once(output: Output, shards: str, workers: Workers, *, has_checkpoint: bool, retries: int) -> None:
    import ray.data

    _configure(output, has_checkpoint)
    pool = ray.data.ActorPoolStrategy(
        min_size=1,
        max_size=workers.actors,
        max_concurrent_calls_per_actor=workers.calls,
        max_tasks_in_flight_per_actor=QUEUED * workers.calls,
    )
    listed = ray.data.read_parquet(output.inside(shards), filesystem=output.files)
    blocks = listed.repartition(target_num_rows_per_block=workers.block)
    # the named parameters, which Ray wants instead, do not have these two yet
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
    rows = blocks.map_batches(
        workers.kind,
        fn_constructor_kwargs=workers.arguments,
        batch_size=None,  # a block
        batch_format="pyarrow",
        compute=pool,
        max_restarts=-1,
        max_task_retries=retries,
        **workers.resources,
    )
    rows.write_parquet(output.inside("parts"), filesystem=output.files, mode="append")


def _configure(output: Output, has_checkpoint: bool) -> None:
    """Ray's settings of the next pass; they belong to the process."""
    import ray.data
    from ray.data.checkpoint import CheckpointConfig

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = ALL_BLOCKS
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    checkpoint = CheckpointConfig(
        id_column="id",
        checkpoint_path=output.inside("checkpoint"),
        override_filesystem=output.files,
        delete_checkpoint_on_success=False,
    )
    context.checkpoint_config = checkpoint if has_checkpoint else None
