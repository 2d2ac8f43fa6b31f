"""The client's events, one after another → what the stream does and answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from asr.errors import AsrError, InvalidOption
from gateway.realtime.client_events import audio_of, event_id_of, parsed
from gateway.realtime.dialects import Name, Stream, is_beta_update, shown, stated
from gateway.realtime.handshake import Handshake
from gateway.realtime.outbox import Outbox
from gateway.realtime.server_events import Event, error_event, new_id
from gateway.realtime.session_config import effective, merged
from gateway.realtime.transcription_request import model_request
from gateway.realtime.turns import Turns
from gateway.realtime.violations import InvalidJson, UnknownEvent
from gateway.service import Service

MAX_VIOLATIONS = 20  # of one stream; then it is closed
UPDATES = ("session.update", "transcription_session.update")


class Conversation:
    """One stream's state. A violation changes nothing: it is answered with an `error`."""

    def __init__(self, service: Service, handshake: Handshake, outbox: Outbox) -> None:
        """Raises what `effective` and `model_request` raise."""
        self._service, self._caller, self._outbox = service, handshake.caller, outbox
        self._default_model = handshake.model or service.model(None, self._caller).spec.name
        expires_at = round(time.time() + service.settings.realtime.max_stream_s)
        self._stream = Stream(new_id("sess"), expires_at)
        # None: the first update shows it
        self._dialect: Name | None = "beta" if handshake.is_beta else None
        self._is_transcription = handshake.is_transcription
        self._stated = stated(handshake.session)
        self._config = effective(self._stated, self._default_model)
        request = model_request(self._config, service, self._caller)
        self.turns = Turns(service, self._caller, outbox, self._config, request)
        self.turns.dialect = self._dialect or "current"
        self._actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "input_audio_buffer.commit": lambda _: self.turns.commit(),
            "input_audio_buffer.clear": self._clear,
            "conversation.item.retrieve": lambda event: outbox.put(
                self.turns.items.retrieved(event.get("item_id"))
            ),
            "conversation.item.delete": lambda event: outbox.put(
                self.turns.items.deleted(event.get("item_id"))
            ),
        } | dict.fromkeys(UPDATES, self._update)

    @property
    def is_spoilt(self) -> bool:
        """Whether the client has broken the contract too often."""
        return self.turns.record.violations >= MAX_VIOLATIONS

    def greet(self) -> None:
        """Sends the first event."""
        is_flat = self._dialect == "beta" and self._is_transcription
        self._outbox.put(self._session_event("transcription_session" if is_flat else "session", "created"))

    async def take(self, frame: str | None) -> None:
        """Applies one frame of the client; None is one that is not text."""
        event_id = None
        try:
            if frame is None:
                raise InvalidJson("a binary frame: events are JSON in text frames")
            event = await parsed(frame)
            event_id = event_id_of(event)
            await self._apply(event)
        except AsrError as violation:
            self.turns.record.violations += 1
            self._outbox.put(error_event(violation, event_id))

    async def _apply(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            await self.turns.hear(await audio_of(event))
        elif kind in self._actions:
            await self._service.after_loading(lambda: self._actions[kind](event))
        else:
            raise UnknownEvent(f"{kind[:80]!r} is no event of a transcription session", param="type")

    def _update(self, event: dict[str, Any]) -> None:
        session = event.get("session")
        if not isinstance(session, dict):
            raise InvalidOption("session must be an object", param="session")
        new = merged(self._stated, stated(session))
        config = effective(new, self._default_model)
        request = model_request(config, self._service, self._caller)
        self._stated, self._config = new, config
        if self._dialect is None:
            self._dialect = self.turns.dialect = "beta" if is_beta_update(event) else "current"
        self.turns.configure(config, request)
        kind = event["type"].partition(".")[0] if self._dialect == "beta" else "session"
        self._outbox.put(self._session_event(kind, "updated"))

    def _clear(self, _event: dict[str, Any]) -> None:
        self.turns.clear()
        self._outbox.put({"type": "input_audio_buffer.cleared"})

    def _session_event(self, kind: str, what: str) -> Event:
        session = shown(
            self._config,
            self._stream,
            self._dialect or "current",
            is_transcription=kind == "transcription_session",
        )
        return {"type": f"{kind}.{what}", "session": session}
