"""A client that speaks bare WebSocket, and speech as it sends it."""

from __future__ import annotations

import base64
import json
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from asr.schema import Hypothesis, Window
from tests.gateway.fake_hypotheses import TOKENIZER, fake_hypothesis

Event = dict[str, Any]
TIMEOUT_S = 60
RATE = 24_000
CHUNK_BYTES = RATE * 2 // 20  # 50 ms, as LiveKit sends
SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "harvard.wav"
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def speech_pcm(start_s: float = 0.0, end_s: float | None = None, file: Path = SAMPLE) -> bytes:
    """Some of a recording as 16-bit PCM at 24 kHz."""
    with av.open(str(file)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    samples: NDArray[np.int16] = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    end = None if end_s is None else round(end_s * RATE)
    return samples[round(start_s * RATE) : end].tobytes()


def silence_pcm(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def wav_of(pcm: bytes, path: Path) -> Path:
    """The same samples as a file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)
    return path


def counted(window: Window) -> Hypothesis:
    """A hypothesis that grows with its window: a word for each 300 ms of it, behind those of its prefix."""
    hypothesis = fake_hypothesis(window)
    if window.options.task == "detect_language":
        return hypothesis
    count = len(window.samples) // 4_800
    first = len(TOKENIZER.decode(window.options.prefix).split())
    text = "".join(f" {NUMBERS[i % 10]}" for i in range(first, count)) + "."
    begin = TOKENIZER.timestamp_begin
    tokens = (begin, *TOKENIZER.encode(text), begin + window.num_frames // 2)
    return Hypothesis(tokens, -0.2, 0.01, 0.0, "en", hypothesis.language_probs)


class Client:
    """One stream. It keeps every event."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[Event] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def append(self, pcm: bytes) -> None:
        self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    def speak(self, pcm: bytes) -> None:
        """Appends as a microphone does, in small chunks, but faster."""
        for first in range(0, len(pcm), CHUNK_BYTES):
            self.append(pcm[first : first + CHUNK_BYTES])

    def commit(self) -> None:
        self.send("input_audio_buffer.commit")

    def update(self, **sound: Any) -> Event:
        """Updates `audio.input`; the effective session."""
        self.send("session.update", session={"type": "transcription", "audio": {"input": sound}})
        session: Event = self.until("session.updated")["session"]
        return session

    def next(self, timeout_s: float = TIMEOUT_S) -> Event:
        event: Event = json.loads(self.socket.recv(timeout_s))
        self.events.append(event)
        return event

    def until(self, kind: str, timeout_s: float = TIMEOUT_S) -> Event:
        """The next event whose type is `kind` or ends with it."""
        while True:
            event = self.next(timeout_s)
            if event["type"].endswith(kind):
                return event

    def rest(self, quiet_s: float = 0.3) -> list[Event]:
        """Everything that comes until nothing has come for a while."""
        first = len(self.events)
        try:
            while True:
                self.next(quiet_s)
        except TimeoutError:
            return self.events[first:]

    def closed(self) -> tuple[int, str]:
        """Code and reason of the server's close, which is to come; the events before it are kept."""
        try:
            while True:
                self.next()
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, "cut off without a close"
            return closed.rcvd.code, closed.rcvd.reason

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def deltas(self, item_id: str) -> str:
        """All deltas of an item, joined."""
        return "".join(
            event["delta"]
            for event in self.events
            if event["type"].endswith(".delta") and event["item_id"] == item_id
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


@contextmanager
def stream(url: str, query: str = "intent=transcription", **options: Any) -> Iterator[Client]:
    """A stream of the gateway at `url`, greeted."""
    address = f"{url.replace('http', 'ws', 1)}/v1/realtime?{query}"
    options.setdefault("compression", None)
    with connect(address, max_size=None, **options) as socket, Client(socket) as client:  # type: ignore[arg-type]
        assert client.next()["type"].endswith("session.created")
        yield client
