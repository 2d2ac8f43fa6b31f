"""A stream's audio → its turns. It opens a turn, shows it to the partials, commits it and has it decoded."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from asr.audio.vad import Probs
from asr.constants import SAMPLE_RATE
from asr.live.listener import Listener, OpenTurn, TurnEnded, TurnStarted
from asr.live.partials import DEFAULT_DELAY, PACES, Pace
from asr.live.plain_partials import PlainPartials
from asr.live.turn_detector import TurnRules
from asr.live.turn_looks import Timing
from asr.live.window_partials import WindowPartials
from asr.schema import Samples
from gateway.caller import Caller
from gateway.observe.live_metrics import StreamRecord
from gateway.realtime.dialects import Name
from gateway.realtime.ear import Ear
from gateway.realtime.finals import Finals
from gateway.realtime.item import OpenItem, PartialRun
from gateway.realtime.items import Items
from gateway.realtime.outbox import Outbox
from gateway.realtime.server_events import committed, speech_started, speech_stopped
from gateway.realtime.session_config import SAMPLES_PER_MS, SemanticVad, ServerVad, SessionConfig
from gateway.realtime.violations import BufferOverflow, CommitEmpty
from gateway.service import ModelRequest, Service

MIN_COMMIT_MS = 100
NET_SAMPLES = 3 * SAMPLE_RATE  # the longest of the model's own silences is 2.4 s
ROOM_WAIT_S = 5.0  # for a turn to be done, before audio is refused; shorter than a client's ping timeout


class Turns:
    """The audio of one stream. Its methods are called one after another, in the order of the events."""

    dialect: Name = "current"

    def __init__(
        self, service: Service, caller: Caller, outbox: Outbox, config: SessionConfig, request: ModelRequest
    ) -> None:
        self.items = Items()
        self.record = StreamRecord(service.metrics.live, caller.name, request.model.name)
        self._service, self._caller, self._outbox = service, caller, outbox
        self._config, self._request = config, request
        self._ear = Ear(config.encoding)
        self._listener = Listener(_rules(config, request))
        self._finals = Finals(service, caller, outbox, self.items, self.record)
        self._item: OpenItem | None = None

    def configure(self, config: SessionConfig, request: ModelRequest) -> None:
        """Applies to audio that comes from now on, and to turns that are committed from now on."""
        if config.encoding != self._ear.encoding:
            self._take(*self._ear.change_encoding(config.encoding))
        self._config, self._request = config, request
        self.record.model = request.model.name
        self._listener.set_rules(_rules(config, request))
        if self._item is not None and self._item.partials is not None and not self._item.text:
            self._item.close()  # begins again as configured now

    async def hear(self, chunk: bytes) -> None:
        """Takes audio; raises BufferOverflow, which drops what is not committed."""
        for part in self._ear.slices(chunk):
            await self._make_room()
            samples, probs = await self._ear.hear(part, is_idle=not self._is_open())
            if len(samples):
                self._take(samples, probs)
                self.record.hear(len(samples) / SAMPLE_RATE)

    def commit(self) -> None:
        """Ends the turn; raises CommitEmpty."""
        if self._take(*self._ear.flush()):
            return  # the detector has just ended it
        audio_ms = (self._listener.position - self._listener.start) / SAMPLES_PER_MS
        if audio_ms < MIN_COMMIT_MS:
            raise CommitEmpty(audio_ms)
        self._commit(self._listener.commit())

    def clear(self) -> None:
        """Drops what is not committed."""
        self._listener.hear(*self._ear.flush())  # the positions of frames and samples stay together
        self._listener.clear()
        self._close_item()

    async def finish(self) -> None:
        """Ends a turn that the detector has opened, and waits until all turns are answered."""
        self._take(*self._ear.flush())
        if self._listener.is_turn_open:
            self._commit(self._listener.commit())
        self._close_item()
        await self._finals.all_done()

    def close(self) -> None:
        """Drops everything."""
        self._close_item()
        self._finals.cancel()

    async def _make_room(self) -> None:
        """Slows down a client that sends faster than its turns are decoded."""
        max_s = self._service.settings.realtime.max_waiting_audio_s
        deadline = asyncio.get_running_loop().time() + ROOM_WAIT_S
        while (waiting_s := self._open_s() + self._finals.waiting_s) >= max_s:
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0 or not self._finals.waiting_s:
                self.clear()
                raise BufferOverflow(
                    f"{waiting_s:.0f} s of audio wait, {max_s:.0f} s may: what is not committed is dropped"
                )
            await self._finals.one_done(left_s)

    def _open_s(self) -> float:
        listener = self._listener
        return (listener.position - listener.start) / SAMPLE_RATE if self._is_open() else 0.0

    def _is_open(self) -> bool:
        """Whether the audio that is not committed belongs to a turn: without rules, any does."""
        return self._listener.is_turn_open or self._config.rules is None

    def _take(self, samples: Samples, probs: Probs) -> bool:
        """Hears samples; whether a turn has ended with them."""
        has_ended = False
        for event in self._listener.hear(samples, probs):
            if isinstance(event, TurnStarted):
                self._item = self._item or self._new_item()
                self._outbox.put(speech_started(self._item.id, event.start // SAMPLES_PER_MS))
            else:
                has_ended = True
                assert self._item is not None
                self._outbox.put(speech_stopped(self._item.id, event.end // SAMPLES_PER_MS))
                self._commit(event)
        if self._is_open():
            self._show(self._listener.open_turn)
            has_ended = self._end_by_model() or has_ended
        return has_ended

    def _show(self, turn: OpenTurn) -> None:
        """Shows the open turn to its partials, and the listener whether their sentence is over."""
        self._item = self._item or self._new_item()
        if self._item.partials is None and (pace := self._pace()) is not None:
            self._item.partials = self._partial_run(self._item, pace)
        self._item.feed(turn)
        run = self._item.partials
        if run is not None and run.source.is_sentence_over:
            self._listener.end_sentence()

    def _end_by_model(self) -> bool:
        """Ends the open turn where the model's own rules say so; whether it has."""
        item = self._item
        if item is None or item.partials is None or self._config.rules is None:
            return False
        if not item.partials.source.is_turn_over:
            return False
        turn = self._listener.commit()
        self._outbox.put(speech_stopped(item.id, turn.end // SAMPLES_PER_MS))
        self._commit(turn)
        return True

    def _commit(self, turn: TurnEnded) -> None:
        item = self._item or self._new_item()
        self._item = item
        self._close_item()
        self._outbox.put(*committed(item.id, self.items.last_id, self.dialect))
        self.items.add(item.id)
        self._finals.start(item, turn.samples, self._request)

    def _new_item(self) -> OpenItem:
        self._service.fleet.expect(self._request.model)  # it may have gone while nobody spoke
        return OpenItem(self._outbox, self.record, is_quiet=self._asked_pace() is None)

    def _close_item(self) -> None:
        if self._item is not None:
            self._item.close()
            self._item = None

    def _partial_run(self, item: OpenItem, pace: Pace) -> PartialRun:
        model = self._request.model
        dispatcher = model.dispatcher
        detection = self._config.input.turn_detection
        ending_samples = None
        if isinstance(detection, ServerVad) and not model.spec.ends_turns:
            ending_samples = detection.rules.silence_samples
        clock = asyncio.get_running_loop().time
        timing = Timing(lambda: dispatcher.has_room_for_partial, clock, ending_samples)
        kind = WindowPartials if model.spec.is_whisper else PlainPartials
        source = kind(self._request.options, model.spec, pace, timing)
        return PartialRun(source, lambda: dispatcher.ticket(self._caller, 0.0, "partial"), item.add)

    def _asked_pace(self) -> Pace | None:
        return PACES[self._config.input.transcription.delay or DEFAULT_DELAY]

    def _pace(self) -> Pace | None:
        """The pace of an open turn; words may end it even if the client wants to see none."""
        is_semantic = isinstance(self._config.input.turn_detection, SemanticVad)
        is_needed = is_semantic or self._request.model.spec.ends_turns
        return self._asked_pace() or (PACES[DEFAULT_DELAY] if is_needed else None)


def _rules(config: SessionConfig, request: ModelRequest) -> TurnRules | None:
    """When turns begin and end; where the model ends them, our silence is only a net below its own rules."""
    rules = config.rules
    if rules is None or not request.model.spec.ends_turns:
        return rules
    return replace(
        rules, silence_samples=max(rules.silence_samples, NET_SAMPLES), sentence_silence_samples=None
    )
