"""Requests that are no forms: options as JSON in a header, audio as base64 in a JSON body."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from asr.errors import InvalidAudio, InvalidOption

AUDIO_FIELDS = ("file", "audio", "data", "body")  # OpenAI's name first; the first one present is the upload
OPTIONS_HEADER = "X-Whisper-Options"
OPTIONS_HEADER_MAX_CHARS = 8_000  # netty refuses longer header lines anyway


def header_options(text: str) -> dict[str, Any]:
    """The options in the header X-Whisper-Options, a JSON object, or none; raises InvalidOption."""
    if not text:
        return {}
    if len(text) > OPTIONS_HEADER_MAX_CHARS:
        raise InvalidOption(
            f"{OPTIONS_HEADER} is {len(text)} characters, must be at most {OPTIONS_HEADER_MAX_CHARS}",
            param=OPTIONS_HEADER,
        )
    try:
        options = json.loads(_as_utf8(text))
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"{OPTIONS_HEADER} is not JSON: {error}", param=OPTIONS_HEADER) from error
    if not isinstance(options, dict):
        raise InvalidOption(
            f"{OPTIONS_HEADER} is {type(options).__name__}, must be a JSON object", param=OPTIONS_HEADER
        )
    if audio := sorted(set(options) & set(AUDIO_FIELDS)):
        raise InvalidOption(f"{OPTIONS_HEADER} holds {audio[0]!r}; audio goes into the body", param=audio[0])
    return options


def _as_utf8(text: str) -> str:
    """HTTP headers travel as Latin-1: decodes a client's UTF-8, and leaves other text as it is."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def json_object(document: bytes | bytearray | str) -> dict[str, Any]:
    """The object that a JSON body is; raises InvalidOption."""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"the body is announced as JSON but does not parse: {error}") from error
    if not isinstance(value, dict):
        raise InvalidOption(
            f'the JSON body is {type(value).__name__}, must be an object such as {{"audio": "<base64>"}}'
        )
    return value


def audio_text(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Name and value of the field of a JSON body that holds the audio; raises InvalidAudio."""
    name = next((name for name in AUDIO_FIELDS if name in fields), None)
    if name is None:
        raise InvalidAudio('the JSON body has no audio; put it in as {"audio": "<base64>"}', param="audio")
    value = fields[name]
    if not isinstance(value, str):
        raise InvalidAudio(f"{name} is {type(value).__name__}, must be a base64 string", param=name)
    return name, value


class Base64Audio:
    """Decodes base64 text, or a data: URL, that arrives in pieces."""

    def __init__(self, name: str = "audio") -> None:
        self._name = name  # of the field, for messages
        self._started = False
        self._rest = b""  # less than four characters
        self._padded = False  # nothing may follow

    def feed(self, text: bytes) -> bytes:
        """The bytes in the next piece; the first holds a data: URL's whole head. Raises InvalidAudio."""
        if not self._started and text[:5].lower() == b"data:":
            scheme, comma, text = text.partition(b",")
            if not comma or not scheme.lower().endswith(b";base64"):
                raise InvalidAudio(f"{self._name} is a data: URL without ';base64,'", param=self._name)
        self._started = True
        text = self._rest + b"".join(text.split())
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        if self._padded and text:
            raise self._invalid("it goes on behind its padding")
        try:
            audio = base64.b64decode(text[:whole], validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._invalid(str(error)) from error
        self._padded = text[:whole].endswith(b"=")
        return audio

    def end(self) -> None:
        """Raises InvalidAudio if the text is incomplete."""
        if self._rest:
            raise self._invalid("its end is missing")

    def _invalid(self, reason: str) -> InvalidAudio:
        return InvalidAudio(f"{self._name} is not valid base64: {reason}", param=self._name)
