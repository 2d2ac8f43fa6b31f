"""Live sound in, a server's events out, over as many connections as it takes.

stream = LiveStream(url, token, session_of(language="en"))
stream.run(Paced(file_chunks(path)), take=lambda event: print(stream.turns.all[-1].text))
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from whisper_client.errors import BrokenStream, ClientError, NoServer, ServerRefused, ServerTimeout
from whisper_client.live_turns import Event, Turns
from whisper_client.realtime import Unopened, opened
from whisper_client.retry import CONNECTION, RetryPolicy
from whisper_client.tape import BYTES_PER_MS, RATE, Tape

RECONNECT_CODES = (1001, 1006, 1011, 1012, 1013)  # going away, cut off, failed, restarting, overloaded
UNHEARD_MS = 5_000  # before the newest sound sent: the server may yet find that speech began there
LONG_LIFE_S = 10.0  # after this life of a connection the tries are counted from zero again
CONFIGURE, LAST = "configure", "last"  # our event ids, which the server's errors name


def session_of(
    language: str | None = None, model: str | None = None, delay: str | None = None
) -> dict[str, Any]:
    """A transcription session whose turns the server finds."""
    asked = {"language": language, "model": model, "delay": delay}
    sound = {
        "format": {"type": "audio/pcm", "rate": RATE},
        "transcription": {name: value for name, value in asked.items() if value},
        "turn_detection": {"type": "server_vad"},
    }
    return {"type": "transcription", "audio": {"input": sound}}


class LiveStream:
    """One sound's way to its turns. A method runs at a time, but `stop`, which any thread may call."""

    def __init__(
        self,
        url: str,
        token: str | None,
        session: dict[str, Any],
        *,
        timeout_s: float,
        policy: RetryPolicy | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """say: is told in a line why the stream waits or goes on."""
        self.turns = Turns()
        self.session: dict[str, Any] = {}  # as it is in effect
        self._url, self._token, self._asked = url, token, session
        self._timeout_s, self._policy, self._say = timeout_s, policy or RetryPolicy(), say
        self._tape = Tape()
        self._is_all_committed = False

    def run(self, source: Iterable[bytes], take: Callable[[Event], None]) -> None:
        """Ends when the source has ended and every turn is answered; `turns` knows each event before `take`.

        Raises NoServer, ServerRefused, ServerTimeout, BrokenStream, and what the source raises.
        """
        causes: list[str] = []
        recorder: threading.Thread | None = None
        while True:
            socket = self._opened(causes)
            if recorder is None:
                recorder = threading.Thread(target=self._tape.record, args=(source,), daemon=True)
                recorder.start()
            opened_at = time.monotonic()
            try:
                with socket:
                    self._converse(socket, take)
                break
            except ConnectionClosed as closed:
                if self._is_over():
                    break
                if time.monotonic() - opened_at > LONG_LIFE_S:
                    causes.clear()
                broken = self._lost(closed)
                causes.append(CONNECTION)
                self._wait(causes, None, _reason(closed), broken)
        if self._tape.failure is not None:
            raise self._tape.failure

    def stop(self) -> None:
        """Hears no more; `run` returns once the turns so far are answered."""
        self._tape.end()

    def _opened(self, causes: list[str]) -> ClientConnection:
        while True:
            try:
                return opened(self._url, self._token, self._timeout_s)
            except Unopened as failed:
                is_absent = isinstance(failed.error, NoServer) and not causes
                if failed.cause is None or is_absent:
                    raise failed.error from failed
                causes.append(failed.cause)
                self._wait(causes, failed.retry_after_s, str(failed.error), failed.error)

    def _wait(self, causes: list[str], retry_after_s: float | None, reason: str, error: ClientError) -> None:
        """Waits before another try; raises the error once patience is over."""
        wait_s = self._policy.wait_s(causes, retry_after_s, random.random())
        if wait_s is None:
            raise error
        self._say(f"{reason}; connecting again in {wait_s:.1f} s")
        time.sleep(wait_s)

    def _lost(self, closed: ConnectionClosed) -> BrokenStream:
        """Prepares for the next connection; raises the error, which is returned, if the server wants none."""
        broken = BrokenStream(f"{_reason(closed)}: see the server's log")
        if _code(closed) not in RECONNECT_CODES:
            raise broken from closed
        self.turns.drop_unanswered()
        self._is_all_committed = False
        return broken

    def _converse(self, socket: ClientConnection, take: Callable[[Event], None]) -> None:
        began_ms = self._tape.start / BYTES_PER_MS
        _send(socket, "session.update", event_id=CONFIGURE, session=self._asked)
        speaker = _Speaker(socket, self._tape)
        speaker.start()
        try:
            while not self._is_over():
                event = self._next(socket, speaker)
                if event["type"] in ("session.created", "session.updated"):
                    self.session = event["session"]
                elif event["type"] == "input_audio_buffer.cleared":
                    self._is_all_committed = True
                elif event["type"] == "error":
                    self._complain(event["error"])
                self.turns.take(event, began_ms, speaker.sent_ms)
                take(event)
                self._forget(speaker.sent_ms)
        finally:
            speaker.is_wanted = False

    def _next(self, socket: ClientConnection, speaker: _Speaker) -> Event:
        while True:
            try:
                event: Event = json.loads(socket.recv(self._timeout_s))
                return event
            except TimeoutError:
                if speaker.is_done:  # before that, silence has no answer
                    raise ServerTimeout(
                        f"the last turns have no answer after {self._timeout_s:g} s: give a longer --timeout"
                    ) from None

    def _forget(self, sent_ms: float) -> None:
        answered = self.turns.answered_ms
        if not self.turns.has_unanswered:
            answered = max(answered, sent_ms - UNHEARD_MS)
        self._tape.forget_before(int(answered) * BYTES_PER_MS)

    def _complain(self, error: dict[str, Any]) -> None:
        """Raises ServerRefused for a session that cannot be; says what else the server finds wrong."""
        words = str(error.get("message"))
        if error.get("event_id") == CONFIGURE:
            raise ServerRefused(f"the server refused the session: {words}", status=400)
        if error.get("event_id") != LAST and error.get("code") != "session_expired":
            self._say(f"the server says: {words}")

    def _is_over(self) -> bool:
        return self._is_all_committed and not self.turns.has_unanswered


class _Speaker(threading.Thread):
    """Sends the tape from its start over one connection; then ends the open turn."""

    def __init__(self, socket: ClientConnection, tape: Tape) -> None:
        super().__init__(daemon=True)
        self.is_wanted = True
        self.is_done = False
        self._socket, self._tape = socket, tape
        self._position = tape.start

    @property
    def sent_ms(self) -> float:
        return self._position / BYTES_PER_MS

    def run(self) -> None:
        with suppress(ConnectionClosed):  # the thread that reads knows it too
            while chunk := self._tape.after(self._position, lambda: self.is_wanted):
                self._position = max(self._position, self._tape.start)  # the tape may have overflowed
                _send(self._socket, "input_audio_buffer.append", audio=base64.b64encode(chunk).decode())
                self._position += len(chunk)
            if self.is_wanted:
                # `cleared` follows the last `committed`, whether the commit has found a turn or not
                _send(self._socket, "input_audio_buffer.commit", event_id=LAST)
                _send(self._socket, "input_audio_buffer.clear")
                self.is_done = True


def _send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    socket.send(json.dumps({"type": kind, **fields}))


def _code(closed: ConnectionClosed) -> int:
    return closed.rcvd.code if closed.rcvd else 1006


def _reason(closed: ConnectionClosed) -> str:
    if closed.rcvd is None:
        return "the connection broke"
    return f"the server closed the stream ({closed.rcvd.reason or closed.rcvd.code})"
