"""Which pages of other hosts may call, and the answer to the others."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from asr.errors import InvalidOption
from gateway.http.failures import error_response


class Cors(CORSMiddleware):
    """Starlette's middleware refuses a preflight in plain text; this one answers with the usual error
    body."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        refusal = error_response(InvalidOption(bytes(response.body).decode(), param="Origin"))
        refusal.headers["Vary"] = response.headers["Vary"]
        return refusal
