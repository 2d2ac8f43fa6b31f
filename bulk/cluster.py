"""The Ray cluster: a running one, or one of this machine that ends with the program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from whisper_client.errors import BadArgument

NO_RAY = (
    "python -m bulk needs Ray: pip install -r requirements-bulk.txt; on one machine"
    " clients/bulk_request.py --to OUT writes the same rows without it"
)
LEAST_CPUS = 4  # reading, the checkpoint's filter, writing and an actor; they hardly compute
OBJECT_STORE_BYTES = 200 * 2**20  # blocks hold paths and texts, no audio


def import_ray() -> Any:
    """The package; raises BadArgument where it is missing."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read at the import
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its warning about num_gpus=0
    try:
        import ray
        import ray.data
    except ImportError:
        raise BadArgument(NO_RAY) from None
    return ray


@contextmanager
def joined(address: str | None) -> Iterator[Any]:
    """Ray, connected; raises BadArgument."""
    ray = import_ray()
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, logging_level="WARNING", log_to_driver=False)
        else:
            ray.init(
                address="local",  # not the one that a file of an earlier run names
                num_cpus=max(LEAST_CPUS, os.cpu_count() or 1),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                logging_level="WARNING",
                log_to_driver=False,
            )
    except (ConnectionError, ValueError) as error:
        raise BadArgument(f"no Ray cluster at {address}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
