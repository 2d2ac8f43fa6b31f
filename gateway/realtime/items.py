"""The items of a conversation: the turns that a client may ask for again."""

from __future__ import annotations

from gateway.realtime.server_events import Event, item
from gateway.realtime.violations import UnknownItem

MAX_ITEMS = 1_000  # an hour of turns of three seconds; the oldest are forgotten


class Items:
    """Transcripts by item id, in the order of their commits; None until one is completed."""

    def __init__(self) -> None:
        self._transcripts: dict[str, str | None] = {}
        self.last_id: str | None = None  # of the latest commit

    def add(self, item_id: str) -> None:
        self._transcripts[item_id] = None
        self.last_id = item_id
        if len(self._transcripts) > MAX_ITEMS:
            del self._transcripts[next(iter(self._transcripts))]

    def complete(self, item_id: str, transcript: str) -> None:
        if item_id in self._transcripts:
            self._transcripts[item_id] = transcript

    def retrieved(self, item_id: object) -> Event:
        """The event that shows the item; raises UnknownItem."""
        known = self._known(item_id)
        return {"type": "conversation.item.retrieved", "item": item(known, self._transcripts[known])}

    def deleted(self, item_id: object) -> Event:
        """The event of the item's end; raises UnknownItem."""
        known = self._known(item_id)
        del self._transcripts[known]
        return {"type": "conversation.item.deleted", "item_id": known}

    def _known(self, item_id: object) -> str:
        if not isinstance(item_id, str) or item_id not in self._transcripts:
            raise UnknownItem(f"there is no item {str(item_id)[:80]!r}", param="item_id")
        return item_id
