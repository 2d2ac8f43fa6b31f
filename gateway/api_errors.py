"""What can go wrong at the front door, beside what `asr.errors` knows. One class per HTTP status."""

from __future__ import annotations

from asr.errors import AsrError

RETRY_S = 5  # of a 503 that does not know better


class GatewayError(AsrError):
    """A failure with the headers its answer carries."""

    @property
    def headers(self) -> dict[str, str]:
        return {}


def headers_of(error: AsrError) -> dict[str, str]:
    """What the error's answer carries beside its body. Every 503 says when to come back, the core's too."""
    headers = error.headers if isinstance(error, GatewayError) else {}
    return {"Retry-After": str(RETRY_S), **headers} if error.status == 503 else headers


class Unauthorized(GatewayError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(GatewayError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class UploadTimeout(GatewayError):
    status = 408
    type = "invalid_request_error"
    code = "upload_timeout"


class BadForm(GatewayError):
    """The body is not the form its headers announce."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_form"


class RateLimited(GatewayError):
    """The caller, or the whole server, has more to do than it may; the same request passes later."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: float, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(max(1, round(self.retry_after_s)))}


class QueueFull(RateLimited):
    code = "queue_full"


class TooManyWrongKeys(RateLimited):
    """An address sends one request after another without a key that is known here."""

    code = "too_many_wrong_keys"


class ClientGone(GatewayError):
    """The caller left before its answer; the status is for the log only."""

    status = 499
    type = "invalid_request_error"
    code = "client_closed_request"


class NotReady(GatewayError):
    """No worker, or the gateway is going down."""

    status = 503
    type = "server_error"
    code = "not_ready"


class DeadlineExceeded(GatewayError):
    status = 504
    type = "server_error"
    code = "deadline_exceeded"
