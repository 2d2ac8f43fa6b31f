"""Chunks of a response → server-sent events (WHATWG HTML, 9.2.6), whatever way the bytes were cut."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

DONE = "[DONE]"  # OpenAI's end mark in chat streams; some servers send it after transcripts too
TEXT_DELTA = "transcript.text.delta"
TEXT_DONE = "transcript.text.done"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: `type` as in its JSON (else its `event:` line), `data` the JSON object, `text` as sent."""

    type: str
    data: dict[str, Any]
    text: str


def read_events(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events in a stream of bytes, each as soon as its blank line has come."""
    name = ""
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield _event(name, "\n".join(data))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        # comments (an empty field name), id and retry mean nothing here


def _event(name: str, text: str) -> ServerEvent:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    data = document if isinstance(document, dict) else {}
    return ServerEvent(str(data.get("type") or name or "message"), data, text)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines without their ends; an unfinished last line is dropped, as the standard says."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    pending = ""
    for chunk in chunks:
        pending += decoder.decode(chunk)
        # a \r at the very end may be the first half of \r\n: it waits for the next chunk
        held = "\r" if pending.endswith("\r") else ""
        body = pending[: len(pending) - len(held)].replace("\r\n", "\n").replace("\r", "\n")
        *complete, rest = body.split("\n")
        yield from complete
        pending = rest + held
    if pending.endswith("\r"):
        yield pending[:-1]
