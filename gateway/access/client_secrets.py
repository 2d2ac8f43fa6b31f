"""Keys that live for minutes: a page gets one from its own server, whose key it must not see.

This process alone keeps them. Behind several gateways a page must reach the gateway that made its secret.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.access.key_file import key_digest
from gateway.api_errors import RateLimited, Unauthorized
from gateway.caller import Caller

PREFIX = "ek_"  # OpenAI's clients know an ephemeral key by it
MAX_SECRETS = 10_000
RETRY_S = 60.0


class TooManySecrets(RateLimited):
    code = "too_many_client_secrets"


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """What a secret opens: streams of its maker, configured as the maker said."""

    caller: Caller
    session: Mapping[str, Any]
    expires_at: int  # Unix time


class ClientSecrets:
    """The secrets by their digests. A stream outlives the secret that opened it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._secrets: dict[str, ClientSecret] = {}

    def issue(self, caller: Caller, session: Mapping[str, Any], seconds: int) -> tuple[str, ClientSecret]:
        """A new secret and what it opens; raises TooManySecrets."""
        now = self._clock()
        if len(self._secrets) >= MAX_SECRETS:
            self._secrets = {key: one for key, one in self._secrets.items() if one.expires_at > now}
        if len(self._secrets) >= MAX_SECRETS:
            raise TooManySecrets("too many client secrets are valid", retry_after_s=RETRY_S)
        value = PREFIX + secrets.token_urlsafe(32)
        secret = ClientSecret(caller, session, int(now) + seconds)
        self._secrets[key_digest(value)] = secret
        return value, secret

    def opened_by(self, value: str) -> ClientSecret:
        """What the secret opens; raises Unauthorized."""
        secret = self._secrets.get(key_digest(value))
        if secret is None or secret.expires_at <= self._clock():
            raise Unauthorized("the client secret is not known here, or it has expired")
        return secret
