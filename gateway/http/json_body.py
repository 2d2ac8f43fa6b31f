"""A JSON object with base64 audio, read piece by piece: the audio is decoded, the rest kept.

Read at once, an upload of 150 MB would be in memory four times: the body, its text, the audio's text, the
audio. So any text that is too long for an option is taken for the audio and decoded while it arrives.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from asr.errors import InvalidOption, TooLarge
from asr.request.bodies import Base64Audio, audio_text, json_object

LONG_BYTES = 65_536  # of a text: longer than any option's
MAX_REST_BYTES = 1_000_000  # of the body beside its audio
INSIDE_TEXT = re.compile(rb'(?:[^"\\]++|\\u[0-9a-fA-F]{4}|\\[^u])*+', re.DOTALL)
LONGEST_ESCAPE = len(rb"\u0041")


class JsonBody:
    """One body while it arrives."""

    def __init__(self) -> None:
        self._rest = bytearray()  # the body, with a mark in place of the long text
        self._mark = secrets.token_hex(16)
        self._audio: Base64Audio | None = None
        self._text: bytearray | None = None  # the text being read, while it may still be short
        self._in_text = False
        self._carried = b""  # an incomplete escape

    def feed(self, piece: bytes) -> bytes:
        """The audio in the next piece of the body; raises InvalidOption, InvalidAudio or TooLarge."""
        piece = self._carried + piece
        self._carried = b""
        audio = []
        position = 0
        while position < len(piece):
            if not self._in_text:
                end = piece.find(b'"', position) + 1 or len(piece)
                self._keep(piece[position:end])
                if piece[end - 1 : end] == b'"':
                    self._in_text, self._text = True, bytearray()
            else:
                match = INSIDE_TEXT.match(piece, position)
                assert match is not None
                end = match.end()
                audio.append(self._continue_text(piece[position:end]))
                if piece[end : end + 1] == b'"':
                    self._end_text()
                    end += 1
                elif len(piece) - end < LONGEST_ESCAPE:
                    self._carried = piece[end:]
                    break
                else:
                    raise InvalidOption("the body is announced as JSON but has an escape that is none")
            position = end
        return b"".join(audio)

    def end(self) -> tuple[dict[str, Any], bytes]:
        """The fields beside the audio, and the audio itself if it was too short to be recognised earlier;
        raises InvalidOption or InvalidAudio."""
        fields = json_object(bytes(self._rest))
        name, text = audio_text(fields)
        del fields[name]
        if self._audio is not None:
            if text != self._mark:
                raise InvalidOption(
                    f"the JSON body holds a text of more than {LONG_BYTES} bytes beside {name}"
                )
            self._audio.end()
            return fields, b""
        decoder = Base64Audio(name)
        audio = decoder.feed(text.encode("utf-8", "surrogatepass"))
        decoder.end()
        return fields, audio

    def _continue_text(self, content: bytes) -> bytes:
        """The audio in the next part of a text; empty while the text may still be short."""
        if self._text is not None:
            self._text += content
            if len(self._text) <= LONG_BYTES:
                return b""
            if self._audio is not None:
                raise InvalidOption(f"the JSON body holds two texts of more than {LONG_BYTES} bytes")
            content, self._text, self._audio = bytes(self._text), None, Base64Audio()
        assert self._audio is not None
        return self._audio.feed(_unescaped(content))

    def _end_text(self) -> None:
        self._keep((self._mark.encode() if self._text is None else self._text) + b'"')
        self._in_text = False

    def _keep(self, piece: bytes | bytearray) -> None:
        self._rest += piece
        if len(self._rest) > MAX_REST_BYTES:
            raise TooLarge(f"the JSON body has more than {MAX_REST_BYTES} bytes beside its audio")


def _unescaped(content: bytes) -> bytes:
    r"""The text without its JSON escapes: some encoders write \/ and \u002B in base64."""
    if b"\\" not in content:
        return content
    try:
        text: str = json.loads(f'"{content.decode("utf-8", "replace")}"', strict=False)
    except ValueError as error:
        raise InvalidOption(f"the body is announced as JSON but does not parse: {error}") from error
    return text.encode("utf-8", "surrogatepass")
