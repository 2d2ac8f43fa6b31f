"""Server-sent events of one `stream=true` request: a delta and a segment event per finished segment."""

from __future__ import annotations

from collections.abc import Callable

from asr import render
from asr.errors import AsrError
from asr.options import RequestOptions
from asr.sessions import FileSession


class EventStream:
    """Sends what a session has finished. Nothing goes out before the first segment exists: until then the
    request can still fail with a status of its own, afterwards only with an error event.

    TorchServe ends a client's response when the whole batch is answered, so the done event is sent as soon
    as its session is done, and a short request need not wait for its neighbours to know its text.
    """

    def __init__(self, options: RequestOptions, send: Callable[[bytes], None]) -> None:
        self.started = False
        self._done = False
        self._options = options
        self._send = send
        self._num_segments = 0
        self._has_text = False
        self._held = ""  # blanks that are part of the text if more text follows

    def advance(self, session: FileSession) -> None:
        """Sends the events of the segments finished since the last call, behind the last the done event."""
        events = self.last(session) if session.done else self._segment_events(session)
        if events:
            self.started = True
            self._send(events)

    def last(self, session: FileSession) -> bytes:
        """What is left to send of a session that is done, once; empty if it has all been sent."""
        if self._done:
            return b""
        events = self._segment_events(session) + render.sse_done(session.transcript(), self._options)
        self._done = True
        return events

    def failed(self, error: AsrError) -> bytes:
        """The error event that ends a stream which has begun."""
        return render.sse_error(error)

    def _segment_events(self, session: FileSession) -> bytes:
        events = []
        for segment in session.take_segments():
            if delta := self._next_delta(segment.text):
                events.append(render.sse_delta(delta))
            events.append(render.sse_segment(segment, self._num_segments))
            self._num_segments += 1
        return b"".join(events)

    def _next_delta(self, text: str) -> str:
        """What the segment adds to the answer's text, which has no blanks at its ends: trailing blanks wait
        for text behind them. All deltas together are that text, in NFC as far as a mark that begins a
        segment can be composed without taking back a letter already sent."""
        text = self._held + render.clean(text)
        if not self._has_text:
            text = text.lstrip()
        delta = text.rstrip()
        self._held = text[len(delta) :]
        self._has_text = self._has_text or bool(delta)
        return delta
