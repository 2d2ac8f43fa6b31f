"""What a client may do wrong on a stream. Each becomes an `error` event, and the stream goes on.

Clients take an `error` for the end of their stream. So there is one only where a client breaks the contract:
not for a field that this server does not know, and not for audio that could not be decoded.
"""

from __future__ import annotations

from asr.errors import AsrError, InvalidOption


class InvalidJson(InvalidOption):
    """The frame is no JSON object with a `type`, or not text."""

    code = "invalid_json"


class UnknownEvent(InvalidOption):
    """There is no such event, or it belongs to a conversation with a model that answers."""

    code = "unknown_event"


class UnknownItem(InvalidOption):
    code = "item_not_found"


class CommitEmpty(InvalidOption):
    code = "input_audio_buffer_commit_empty"

    def __init__(self, audio_ms: float) -> None:
        super().__init__(
            "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but "
            f"buffer only has {audio_ms:.2f}ms of audio."
        )


class BufferOverflow(InvalidOption):
    code = "buffer_overflow"


class InvalidModel(InvalidOption):
    code = "invalid_model"


class SessionExpired(AsrError):
    type = "invalid_request_error"
    code = "session_expired"
