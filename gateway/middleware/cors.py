"""Pages of other hosts: which may call, and what the others are told."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from asr.errors import InvalidOption
from gateway.http.failures import error_response


class Cors(CORSMiddleware):
    """Starlette's, whose refusal of a preflight is plain text; here it has the body of every failure."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        refusal = error_response(InvalidOption(bytes(response.body).decode(), param="Origin"))
        refusal.headers["Vary"] = response.headers["Vary"]
        return refusal
