"""Audio that a line of a batch names by its address."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from gateway.jobs.refusals import Refused


class Fetch(Protocol):
    """Brings what is at a URL onto the disk."""

    async def __call__(self, url: str, target: Path) -> None:
        """Writes the content into `target`; raises AsrError where that is refused or fails."""
        ...


class NoFetch:
    """Refuses every URL."""

    async def __call__(self, url: str, target: Path) -> None:
        raise Refused(
            "outbound fetching is off: upload the audio to /v1/files and send its file_id, or a data: URL",
            "outbound_fetching_is_off",
            param="url",
        )
