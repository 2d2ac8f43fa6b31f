"""Audio that a line of a batch names by its address."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Fetch(Protocol):
    """Brings what is at a URL onto the disk."""

    async def __call__(self, url: str, target: Path) -> None:
        """Writes the content into `target`; raises AsrError where that is refused or fails."""
        ...
