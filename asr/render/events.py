"""Server-sent events of one `stream=true` request: a delta and a segment event per finished segment."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import regex  # type: ignore[import-untyped]

from asr.errors import AsrError
from asr.render import formats
from asr.request.options import RequestOptions
from asr.sessions import FileSession

CLUSTER = regex.compile(r"\X")  # a grapheme cluster: one character for a reader, vowel signs included


class TextStream:
    """A text that arrives in pieces, passed on in pieces that never split a grapheme cluster.

    The results of `take` and `rest` add up to exactly the whole text in NFC without blanks at its ends. The
    last cluster is held back, as the next piece may begin with a mark that belongs to it. So are trailing
    blanks: they belong to the text only if more text follows.
    """

    def __init__(self) -> None:
        self._tail = ""  # held back; begins with a cluster
        self._has_text = False

    def take(self, piece: str) -> str:
        """The text that can be passed on once this piece has come."""
        text = self._tail + formats.CONTROL.sub("", piece)
        border = max((match.start() for match in CLUSTER.finditer(text)), default=0)
        border = len(text[:border].rstrip())
        self._tail = text[border:]
        return self._passed_on(text[:border])

    def rest(self) -> str:
        """The rest of the text, after the last piece."""
        text, self._tail = self._tail.rstrip(), ""
        return self._passed_on(text)

    def _passed_on(self, text: str) -> str:
        if not self._has_text:
            text = text.lstrip()
            self._has_text = bool(text)
        return unicodedata.normalize("NFC", text)


class EventStream:
    """Sends the finished segments of a session. Nothing goes out before the first one: until then the request
    can still fail with a status of its own, afterwards only with an error event.

    TorchServe ends a client's response when the whole batch is answered. The done event goes out as soon as
    its session is done, so that a short request does not wait for its neighbours to have its text.
    """

    def __init__(self, options: RequestOptions, send: Callable[[bytes], None]) -> None:
        self.started = False
        self._done = False
        self._options = options
        self._send = send
        self._num_segments = 0
        self._text = TextStream()
        self._logprobs: list[dict[str, Any]] = []  # of text that no delta event has carried yet

    def advance(self, session: FileSession) -> None:
        """Sends the events of the segments finished since the last call and, in the end, the done event."""
        events = self.last(session) if session.done else self._segment_events(session)
        if events:
            self.started = True
            self._send(events)

    def last(self, session: FileSession) -> bytes:
        """The remaining events of a session that is done; empty if all have been sent."""
        if self._done:
            return b""
        events = self._segment_events(session) + self._delta_event(self._text.rest())
        self._done = True
        return events + formats.sse_done(session.transcript(), self._options)

    def failed(self, error: AsrError) -> bytes:
        """The error event that ends a stream after its first event."""
        return formats.sse_error(error)

    def _segment_events(self, session: FileSession) -> bytes:
        events = []
        for segment in session.take_segments():
            if self._options.decoding.token_logprobs:
                self._logprobs += formats.logprobs(segment)
            events.append(self._delta_event(self._text.take(segment.text)))
            events.append(formats.sse_segment(segment, self._num_segments, self._options))
            self._num_segments += 1
        return b"".join(events)

    def _delta_event(self, text: str) -> bytes:
        """A segment's tokens go with the first delta of its text; the held-back end has none."""
        if not text:
            return b""
        logprobs, self._logprobs = self._logprobs, []
        return formats.sse_delta(text, logprobs if self._options.decoding.token_logprobs else None)
