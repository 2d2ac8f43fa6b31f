"""Seconds by stage of one request's work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageTimes(dict[str, float]):
    """Stage → wall-clock seconds. Stage names are metric labels: a fixed few."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the block's seconds to the stage, also when it raises."""
        started_at = time.perf_counter()
        try:
            yield
        finally:
            self[name] = self.get(name, 0.0) + time.perf_counter() - started_at
