"""The gateway's own errors, beside those of `asr.errors`. One class per HTTP status."""

from __future__ import annotations

from asr.errors import AsrError

RETRY_S = 5  # default Retry-After of a 503


class GatewayError(AsrError):
    """An error whose answer carries headers."""

    @property
    def headers(self) -> dict[str, str]:
        return {}


def headers_of(error: AsrError) -> dict[str, str]:
    """The headers of the error's answer. Every 503 has Retry-After, also one of the core's."""
    headers = error.headers if isinstance(error, GatewayError) else {}
    return {"Retry-After": str(RETRY_S), **headers} if error.status == 503 else headers


class Unauthorized(GatewayError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(GatewayError):
    """The caller is known, and what it asks for is not for it."""

    status = 403
    type = "invalid_request_error"
    code = "permission_denied"


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
    """The body is not the form that its headers announce."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_form"


class KeyReused(GatewayError):
    """An Idempotency-Key that came with another request before."""

    status = 422
    type = "invalid_request_error"
    code = "idempotency_key_reused"


class RateLimited(GatewayError):
    """The caller or the whole server is at a limit; the same request succeeds later."""

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
    """One address keeps sending requests without a valid key."""

    code = "too_many_wrong_keys"


class ClientGone(GatewayError):
    """The caller left before its answer; the status is for the log only."""

    status = 499
    type = "invalid_request_error"
    code = "client_closed_request"


class NotReady(GatewayError):
    """No worker is ready, or the gateway is shutting down."""

    status = 503
    type = "server_error"
    code = "not_ready"


class DeadlineExceeded(GatewayError):
    status = 504
    type = "server_error"
    code = "deadline_exceeded"
