"""Asking a server on this machine."""

from __future__ import annotations

import ssl
import urllib.request
from http.client import HTTPResponse
from typing import cast

# It is on this machine: a proxy of the caller's shell has no part in it. A certificate is our own, reached by
# address: there is no name to verify.
_OPENER = urllib.request.build_opener(
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),  # noqa: S323  # see above
)


def open_local(request: urllib.request.Request | str, timeout_s: float) -> HTTPResponse:
    """The open answer to `request`; raises HTTPError for a status other than success, else OSError."""
    return cast(HTTPResponse, _OPENER.open(request, timeout=timeout_s))
