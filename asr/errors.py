"""The errors of one request. They are values: an error travels beside the results of other requests.

AsrError
 ├─ InvalidOption      400  a field of the request has an unknown name or a bad value
 ├─ InvalidAudio       400  the upload is empty or holds no samples
 ├─ UnsupportedMedia   415  the upload is not audio this server can decode
 ├─ TooLarge           413  the upload is longer or bigger than the limits
 ├─ Overloaded         503  no memory or no room; the same request may pass later
 └─ EngineFailure      500  the engine broke on this request
"""

from __future__ import annotations


class AsrError(Exception):
    """One request's failure.

    `status` is the HTTP status, `type` and `code` are OpenAI's error fields, `param` is the name of the
    offending field or None. `str(error)` is the message to the caller.
    """

    status = 500
    type = "server_error"
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def body(self) -> dict[str, dict[str, str | None]]:
        """OpenAI's error body."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidOption(AsrError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class InvalidAudio(AsrError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_audio"


class UnsupportedMedia(AsrError):
    status = 415
    type = "invalid_request_error"
    code = "unsupported_media"


class TooLarge(AsrError):
    status = 413
    type = "invalid_request_error"
    code = "too_large"


class Overloaded(AsrError):
    status = 503
    type = "server_error"
    code = "overloaded"


class EngineFailure(AsrError):
    status = 500
    type = "server_error"
    code = "engine_failure"
