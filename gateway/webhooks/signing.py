"""Signing secrets, and the headers of Standard Webhooks.

No secret is stored. Each is computed from one key file and the endpoint's id, so that whoever reads the
database, or a backup of it, learns none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from standardwebhooks import Webhook

from gateway.settings_errors import SettingsError

KEY_BYTES = 32
PREFIX = "whsec_"
HINT_CHARS = 4


class SigningKey:
    """What all secrets are made from."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.fingerprint = self._derive("fingerprint").hex()[:16]

    def endpoint_secret(self, endpoint_id: str, version: int) -> str:
        """The `whsec_…` of an endpoint."""
        return _spell(self._derive(f"endpoint\n{endpoint_id}\n{version}"))

    def secrets_of(self, endpoint: sa.Row[Any], now: float) -> list[str]:
        """The secrets that sign for this endpoint now, the newest first; none if they were made from another
        key file."""
        if not endpoint.listed:
            return [self.caller_secret(endpoint.key)]
        if endpoint.signing_key != self.fingerprint:
            return []
        versions = [endpoint.secret_version]
        if now < endpoint.old_secret_until:
            versions.append(endpoint.secret_version - 1)
        return [self.endpoint_secret(endpoint.id, version) for version in versions]

    def caller_secret(self, key: str) -> str:
        """The `whsec_…` for the webhook_url of a caller's jobs, which the operator hands over."""
        return _spell(self._derive(f"caller\n{key}"))

    def _derive(self, name: str) -> bytes:
        return hmac.digest(self._key, name.encode(), hashlib.sha256)


def read_signing_key(path: Path) -> SigningKey:
    """The file's key; a missing file is made, readable for this user alone. Raises SettingsError."""
    try:
        if not path.exists():
            _make(path)
        key = base64.b64decode(path.read_text("ascii").strip(), validate=True)
    except (OSError, ValueError) as error:
        raise SettingsError(f"webhooks.key_file is {str(path)!r}: {error}") from error
    if len(key) < KEY_BYTES:
        raise SettingsError(f"webhooks.key_file is {str(path)!r}, must hold {KEY_BYTES} bytes in base64")
    return SigningKey(key)


def hint(secret: str) -> str:
    """A secret's end, by which its owner knows it."""
    return f"{PREFIX}…{secret[-HINT_CHARS:]}"


def signed_headers(message_id: str, body: str, now: float, signing_secrets: list[str]) -> dict[str, str]:
    """The headers of one attempt: its time, and a signature by each secret."""
    time = datetime.fromtimestamp(int(now), UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(
            Webhook(secret).sign(message_id, time, body) for secret in signing_secrets
        ),
    }


def _spell(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def _make(path: Path) -> None:
    """Of two gateways that do this at the same time, one makes the file and both read it."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".webhook-") as file:
        file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, path)
