"""Why a request about jobs is refused: OpenAI's error body with a status, a code and a parameter."""

from __future__ import annotations

from gateway.api_errors import GatewayError, NotFound, RateLimited

RETRY_S = 30.0


class Refused(GatewayError):
    """A field of the request cannot be."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, code: str = "invalid_value", *, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.code = code


class FileNotFound(NotFound):
    code = "file_not_found"


class UploadNotFound(NotFound):
    code = "upload_not_found"


class BatchNotFound(NotFound):
    code = "batch_not_found"


class Conflict(GatewayError):
    """The thing is in no state for it, and waiting does not help."""

    status = 409
    type = "invalid_request_error"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}  # OpenAI's clients retry a 409 otherwise


class FileTooLarge(GatewayError):
    status = 413
    type = "invalid_request_error"
    code = "file_too_large"


class StorageFull(RateLimited):
    """The key has stored as much as it may."""

    code = "storage_quota_exceeded"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=RETRY_S)


class BatchQueueFull(RateLimited):
    code = "batch_queue_full"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=RETRY_S)
