"""Audio that a job names by its URL, brought onto the disk; an error is the line's own."""

from __future__ import annotations

from pathlib import Path

from asr.errors import Overloaded
from gateway.api_errors import GatewayError
from gateway.outbound.client import OutboundClient
from gateway.outbound.outbound_errors import OutboundError


class CannotFetch(GatewayError):
    """The URL leads to no audio for this server; its code is that of the OutboundError."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, param="url")
        self.code = code


class AudioFetch:
    """Fulfils the jobs' `Fetch`."""

    def __init__(self, client: OutboundClient) -> None:
        self._client = client

    async def __call__(self, url: str, target: Path) -> None:
        """Writes what is at the URL into `target`; raises CannotFetch, or Overloaded if the disk is full."""
        try:
            await self._client.fetch(url, target)
        except OutboundError as error:
            raise CannotFetch(f"the audio cannot be fetched: {error}", error.code) from error
        except OSError as error:
            raise Overloaded("the server has no room for this audio; try again later") from error
