"""The library call: `WhisperClient(url).transcribe("speech.wav", language="en").text`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3

from whisper_client.errors import BrokenStream, ServerRefused
from whisper_client.events import DONE, TEXT_DONE, ServerEvent, read_events
from whisper_client.form import Form, Upload, encode_form, read_upload
from whisper_client.retry import RetryPolicy, parse_retry_after
from whisper_client.transport import Answer, Transport, read_chunks

DEFAULT_URL = "http://127.0.0.1:8080/predictions/whisper"
DEFAULT_TIMEOUT_S = 960.0  # above the server's responseTimeout of 900 s, so that its own answer arrives
DEFAULT_RETRIES = RetryPolicy().retries
MAX_WORDS_CHARS = 400  # of a server's error message; lists of allowed values can be long
MODEL_HEADER = "X-Model"
OPENAI_PATHS = ("/audio/transcriptions", "/audio/translations")


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's answer to one upload, good or bad."""

    status: int
    body: bytes
    seconds: float  # all tries and the waits between them
    tries: int
    content_type: str = ""
    causes: tuple[str, ...] = ()  # why each try before the last failed
    model: str | None = None  # that answered, as the gateway's X-Model names it
    retry_after_s: float | None = None  # what the last answer asks for

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def document(self) -> dict[str, Any] | None:
        """The body as a JSON object, None if it is not one."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    @property
    def text(self) -> str:
        """The transcript of a json or verbose_json answer, the whole body of any other format."""
        document = self.document if "json" in self.content_type else None
        if document is not None and isinstance(document.get("text"), str):
            return str(document["text"])
        return self.body.decode("utf-8", "replace")

    def raise_for_status(self) -> Reply:
        """The reply itself if it is good; raises ServerRefused with the server's own words."""
        if self.ok:
            return self
        message = refusal_message(self.status, self.body)
        raise ServerRefused(message, status=self.status, tries=self.tries, causes=self.causes)


class WhisperClient:
    """Talks to one address; may be shared by threads.

    `url` is a TorchServe prediction route or any OpenAI-compatible `…/audio/transcriptions`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        self.url = url
        self._transport = Transport(url, token, timeout_s=timeout_s, policy=RetryPolicy(retries=retries))
        path = urlsplit(url).path.rstrip("/")
        self._is_openai = path.endswith(OPENAI_PATHS)
        self._repeat_lists = not path.startswith("/predictions/")

    def transcribe(
        self, audio: str | Path | bytes | Upload, *, name: str | None = None, **options: Any
    ) -> Reply:
        """The reply to one upload, errors of the server included (`reply.status`).

        `options` are form fields by OpenAI's names (`language="hi"`, `response_format="srt"`), lists
        allowed. Raises BadArgument, and ServerUnreachable or ServerTimeout where no answer came.
        """
        return self.send(self.form(audio, name=name, **options))

    def form(self, audio: str | Path | bytes | Upload, *, name: str | None = None, **options: Any) -> Form:
        """What `transcribe` would send; encode once to `send` it many times."""
        upload = audio if isinstance(audio, Upload) else read_upload(audio, name)
        if self._is_openai:
            options = {"model": "whisper-1", **options}  # a required field there
        return encode_form(upload, options, repeat_lists=self._repeat_lists)

    def send(self, form: Form, *, idempotency_key: str | None = None) -> Reply:
        """The reply to a form made by `form`; the key is the header Idempotency-Key of each try."""
        return _reply(self._transport.post(form, idempotency_key=idempotency_key))

    def stream(
        self, audio: str | Path | bytes | Upload, *, name: str | None = None, **options: Any
    ) -> Iterator[ServerEvent]:
        """Events as the server sends them, `transcript.text.done` last.

        Tries are repeated only before the first event. Raises what `transcribe` raises, ServerRefused for
        an error status or an error event, BrokenStream where the events stop before the last one.
        """
        answer = self._transport.post(self.form(audio, name=name, **{**options, "stream": True}), stream=True)
        if answer.body is not None or answer.response.status_code >= 300:
            _reply(answer).raise_for_status()
        url = answer.response.url
        try:
            yield from _events_until_done(answer)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise BrokenStream(f"the stream from {url} broke off: send the file again") from error

    def describe(self, model: str | None = None) -> dict[str, Any] | None:
        """The model in the server's words, None if it says nothing.

        TorchServe's `…/1.0/model`, or of `…/v1/models` the entry `model`, else the first.
        """
        parts = urlsplit(self.url)
        if not self._is_openai:
            url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/1.0/model"))
            found = self._transport.get_json(url)
            return found if isinstance(found, dict) else None
        path = parts.path.rstrip("/").removesuffix(OPENAI_PATHS[0]).removesuffix(OPENAI_PATHS[1])
        found = self._transport.get_json(urlunsplit(parts._replace(path=f"{path}/models")))
        listed = found.get("data") if isinstance(found, dict) else None
        models = [entry for entry in listed or () if isinstance(entry, dict)]
        return next((entry for entry in models if entry.get("id") == model), models[0] if models else None)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> WhisperClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def openai_url(base: str) -> str:
    """The transcription address of an OpenAI-compatible server, for its root, its `/v1` or the full path."""
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    if not path:
        path = "/v1"
    if not path.endswith(OPENAI_PATHS):
        path += OPENAI_PATHS[0]
    return urlunsplit(parts._replace(path=path))


def reply_of_events(events: Iterator[ServerEvent], causes: tuple[str, ...] = ()) -> Reply:
    """The last event of a stream as a json answer would have it; raises what the stream raises."""
    started = time.perf_counter()
    done = [event for event in events if event.type == TEXT_DONE]
    body = json.dumps({"text": done[-1].data.get("text")} if done else {}).encode()
    seconds = time.perf_counter() - started
    return Reply(200, body, seconds, len(causes) + 1, "application/json", causes)


def refusal_message(status: int, body: bytes) -> str:
    """One line for an error answer: the status, the server's words and, where there is one, the remedy."""
    words = _server_words(body)
    said = f"the server answered {status}" + (f": {words}" if words else "")
    if status in (401, 403) or (status == 400 and b"InvalidKeyException" in body):
        return f"{said}; set WHISPER_TOKEN (TorchServe writes it into key_file.json, under inference)"
    if 300 <= status < 400:
        return f"{said} (a redirect); give the address it leads to with --url"
    if status in (404, 405):
        return f"{said}; check the address (--url, --openai)"
    if status == 413:
        return f"{said}{'' if words else ' (too large)'}; send a shorter or compressed file"
    if status in (503, 507):
        return f"{said}; it is overloaded or starting, try again or lower the load"
    return said


def _server_words(body: bytes) -> str:
    """The message of an OpenAI or TorchServe error body, else the beginning of the body, on one line."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    message: Any = body[:MAX_WORDS_CHARS].decode("utf-8", "replace")
    if isinstance(document, dict):
        error = document.get("error", document)
        message = error.get("message", message) if isinstance(error, dict) else error
    line = " ".join(str(message).split())
    shown = "".join(char if char.isprintable() else "?" for char in line)
    return shown if len(shown) <= MAX_WORDS_CHARS else f"{shown[:MAX_WORDS_CHARS]}…"


def _reply(answer: Answer) -> Reply:
    body = answer.response.content if answer.body is None else answer.body
    response = answer.response
    model = response.headers.get(MODEL_HEADER)
    wait_s = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    story = (answer.seconds, answer.tries, answer.content_type, answer.causes)
    return Reply(response.status_code, body, *story, model, wait_s)


def _events_until_done(answer: Answer) -> Iterator[ServerEvent]:
    if "event-stream" not in answer.content_type:  # a server without streaming: its answer is the end
        reply = _reply(answer)
        yield ServerEvent(TEXT_DONE, reply.document or {"text": reply.text}, reply.text)
        return
    for event in read_events(read_chunks(answer.response)):
        if event.text == DONE:
            return
        if event.type == "error" or "error" in event.data:
            words = _server_words(event.text.encode())
            raise ServerRefused(f"the server stopped the stream: {words}", status=200, tries=answer.tries)
        yield event
        if event.type == TEXT_DONE:
            return
    raise BrokenStream(f"the stream from {answer.response.url} ended early: send the file again")
