"""The handler behind TorchServe's own Python worker code, without the Java in front of it.

Requests go in as the frontend encodes them, answers come out as the frontend decodes them, so a reason
phrase or header that would break TorchServe's frames breaks a test here.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.protocol.otf_message_handler import _retrieve_inference_msg
from ts.service import Service

from asr.engine import ModelSpec
from asr.errors import AsrError, EngineFailure
from asr.schema import EngineSeconds, Hypothesis, Window
from asr.text.tokenizer import tokenizer_for
from whisper_handler import WhisperHandler

ROOT = Path(__file__).resolve().parents[2]
SPEC = ModelSpec("echo", multilingual=True, num_languages=99, n_mels=80, n_text_ctx=448)
TOKENIZER = tokenizer_for(True, 99)

RAISES, FAILS, LONG, SILENT = 1_111, 2_222, 3_333, 4_444  # peaks of the audio that make EchoEngine misbehave


class EchoEngine:
    """Decodes a window to a text that names its audio, so that a neighbour's audio would show."""

    spec = SPEC
    max_batch_size = 4
    description = "cpu float32"

    def __init__(self) -> None:
        self.oom_count = 0
        self.batch_sizes: list[int] = []

    def most_together(self, frames: int) -> int:
        return self.max_batch_size

    def decode(self, windows: Sequence[Window], on_found: object = None) -> list[Hypothesis | AsrError]:
        self.batch_sizes.append(len(windows))
        if any(_peak(window) == RAISES for window in windows):
            raise RuntimeError("CUDA went away\n[METRICS]forged.count:1|#Level:Host|#hostname:evil,1")
        return [self._one(window) for window in windows]

    def _one(self, window: Window) -> Hypothesis | AsrError:
        if _peak(window) == FAILS:
            return EngineFailure("this window cannot be decoded")
        begin, ticks = TOKENIZER.timestamp_begin, window.num_frames // 2
        text = f" Ton {zlib.crc32(window.samples.tobytes())} é नमस्ते."
        tokens = (begin, *TOKENIZER.encode(text), begin + ticks // 2)
        tokens += (begin + ticks // 2, *TOKENIZER.encode(" Ende."), begin + ticks)
        return Hypothesis(
            tokens=tokens,
            avg_logprob=-0.2,
            no_speech_prob=0.0,
            temperature=window.options.temperature,
            language=window.options.language or "de",
            seconds=EngineSeconds(0.001, 0.002, 0.003, 0.0),
        )


def _peak(window: Window) -> int:
    return int(np.abs(window.samples).max()) if len(window.samples) else 0


def wav(seconds: float = 1.0, peak: int = 8_000, pitch: float = 220.0, rate: int = 16_000) -> bytes:
    """A mono 16-bit WAV of a tone."""
    samples = np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate) * peak
    samples[len(samples) // 2] = peak
    out = io.BytesIO()
    soundfile.write(out, samples.astype(np.int16), rate, format="WAV")
    return out.getvalue()


@dataclass
class Row:
    """One HTTP request as the frontend encodes it for a worker."""

    parameters: list[tuple[str, str, bytes]] = field(default_factory=list)  # name, content type, value
    headers: dict[str, str] = field(default_factory=dict)
    path: str = ""

    @classmethod
    def raw(cls, body: bytes, content_type: str = "audio/wav", path: str = "", **options: Any) -> Row:
        headers = {"Content-Type": content_type}
        if options:
            headers["X-Whisper-Options"] = json.dumps(options)
        return cls([("body", content_type.split(";")[0], body)], headers, path)

    @classmethod
    def form(cls, file: bytes | None, path: str = "", part_type: str = "audio/wav", **fields: str) -> Row:
        parameters = [(name, "", value.encode()) for name, value in fields.items()]
        if file is not None:
            parameters.append(("file", part_type, file))
        return cls(parameters, {"Content-Type": "multipart/form-data; boundary=X"}, path)


@dataclass(frozen=True)
class Answer:
    """What the frontend would send to the client."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    chunks: tuple[bytes, ...]  # more than one: streamed

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def content_type(self) -> str:
        return self.headers["content-type"]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json()["error"]

    def events(self) -> list[Any]:
        """The JSON of the `data:` lines."""
        return [json.loads(line[5:]) for line in self.body.decode().splitlines() if line.startswith("data:")]


class Worker:
    """A TorchServe worker process's Python, driven frame by frame."""

    def __init__(self, handler: WhisperHandler, model_yaml: Mapping[str, Any]) -> None:
        metrics = MetricsCacheYamlImpl(str(ROOT / "config" / "metrics.yaml"))
        metrics.initialize_cache()
        metrics.model_name = "whisper"
        self._service = Service("whisper", "/", None, handler.handle, None, 16, True, metrics)
        self.context = self._service.context
        self.context.model_yaml_config = model_yaml
        self._sent = bytearray()
        self._service.set_cl_socket(self)
        self.context.handler = handler
        handler.initialize(self.context)

    def sendall(self, message: bytes) -> None:
        self._sent += message

    def ask(self, *rows: Row) -> list[Answer]:
        """One batch."""
        self._sent.clear()
        request = _retrieve_inference_msg(_Connection(_encode(rows)))
        self.sendall(self._service.predict(request))
        return _decode(bytes(self._sent), len(rows))


class _Connection:
    """The worker's socket, as far as reading a request goes."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def recv(self, length: int) -> bytes:
        return self._file.read(length)


def _encode(rows: Sequence[Row]) -> bytes:
    """A predict command (frontend: ModelRequestEncoder.java)."""
    out = bytearray()
    for i, row in enumerate(rows):
        out += _prefixed(f"request-{i}".encode())
        for name, value in {**row.headers, "explain": "False", "url_path": row.path}.items():
            out += _prefixed(name.encode()) + _prefixed(value.encode())
        out += struct.pack("!i", -1)
        for name, content_type, value in row.parameters:
            out += _prefixed(name.encode()) + _prefixed(content_type.encode()) + _prefixed(value)
        out += struct.pack("!i", -1)
    return bytes(out + struct.pack("!i", -1))


def _prefixed(value: bytes) -> bytes:
    return struct.pack("!i", len(value)) + value


class _Frames:
    """Reads what a worker sent (frontend: ModelResponseDecoder.java). Any wrong length ends in an error."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)
        self._size = len(content)

    def at_end(self) -> bool:
        return self._file.tell() == self._size

    def integer(self) -> int:
        return int(struct.unpack("!i", self._file.read(4))[0])

    def text(self) -> str:
        return self.blob().decode("ascii")

    def blob(self) -> bytes:
        length = self.integer()
        value = self._file.read(length)
        assert len(value) == length, "a frame is shorter than it says"
        return value


def _decode(content: bytes, num_rows: int) -> list[Answer]:
    frames = _Frames(content)
    parts: dict[str, list[tuple[int, str, dict[str, str], bytes]]] = {}
    while not frames.at_end():
        code, _message = frames.integer(), frames.text()
        assert code == 200, "TorchServe failed the whole batch"
        while (length := frames.integer()) != -1:
            request_id = frames._file.read(length).decode()
            content_type, status, phrase = frames.text(), frames.integer(), frames.text()
            headers = {frames.text(): frames.text() for _ in range(frames.integer())}
            assert headers["content-type"] == content_type
            parts.setdefault(request_id, []).append((status, phrase, headers, frames.blob()))
    assert sorted(parts) == sorted(f"request-{i}" for i in range(num_rows)), "not one answer per row"
    answers = []
    for i in range(num_rows):
        one = parts[f"request-{i}"]
        streamed = [headers.get("ts_stream_next") for _, _, headers, _ in one]
        assert streamed[:-1] == ["true"] * (len(one) - 1)
        assert streamed[-1] in (None, "false") if len(one) == 1 else streamed[-1] == "false"
        status, phrase, headers, _ = one[0]
        answers.append(Answer(status, phrase, headers, tuple(chunk for *_, chunk in one)))
    return answers
