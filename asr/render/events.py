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

CLUSTER = regex.compile(r"\X")  # what a reader takes for one character, vowel signs and marks included


class TextStream:
    """A text that arrives in pieces, told again in pieces that never split what a reader sees as one.

    What `take` and `rest` return adds up to the whole text in NFC without blanks at its ends, exactly. The
    last cluster waits, as the next piece may begin with a mark that belongs to it; trailing blanks wait, as
    they are part of the text only if more text follows.
    """

    def __init__(self) -> None:
        self._held = ""  # from a border between clusters on
        self._has_text = False

    def take(self, piece: str) -> str:
        """What can be told now that this piece is known."""
        text = self._held + formats.CONTROL.sub("", piece)
        border = max((match.start() for match in CLUSTER.finditer(text)), default=0)
        border = len(text[:border].rstrip())
        self._held = text[border:]
        return self._tell(text[:border])

    def rest(self) -> str:
        """What is left once the last piece is known."""
        text, self._held = self._held.rstrip(), ""
        return self._tell(text)

    def _tell(self, text: str) -> str:
        if not self._has_text:
            text = text.lstrip()
            self._has_text = bool(text)
        return unicodedata.normalize("NFC", text)


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
        self._text = TextStream()
        self._logprobs: list[dict[str, Any]] = []  # of text that no delta has told yet

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
        events = self._segment_events(session) + self._delta_event(self._text.rest())
        self._done = True
        return events + formats.sse_done(session.transcript(), self._options)

    def failed(self, error: AsrError) -> bytes:
        """The error event that ends a stream which has begun."""
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
        """A segment's tokens go with the first delta that tells of it; its held-back end has none."""
        if not text:
            return b""
        logprobs, self._logprobs = self._logprobs, []
        return formats.sse_delta(text, logprobs if self._options.decoding.token_logprobs else None)
