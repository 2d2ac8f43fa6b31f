"""One caller of the keys file: whose key it is, and what it may do."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.caller import Caller
from gateway.settings import AccessSettings, ApiKey, Count, Positive


class KeyEntry(BaseModel):
    """One line of the keys file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    key: ApiKey | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-fA-F]{64}$")
    weight: Positive = 1.0
    models: tuple[str, ...] = ()
    requests_per_minute: Count | None = None
    audio_seconds_per_minute: Positive | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> KeyEntry:
        if (self.key is None) == (self.sha256 is None):
            raise ValueError(f"{self.name} needs one of key and sha256")
        return self

    @property
    def digest(self) -> str:
        if self.key is not None:
            return key_digest(self.key.get_secret_value())
        assert self.sha256 is not None
        return self.sha256.lower()

    def caller(self, defaults: AccessSettings) -> Caller:
        return Caller(
            name=self.name,
            weight=self.weight,
            models=self.models,
            requests_per_minute=self.requests_per_minute or defaults.requests_per_minute,
            audio_seconds_per_minute=self.audio_seconds_per_minute or defaults.audio_seconds_per_minute,
        )


def key_digest(key: str) -> str:
    """SHA-256 of a key, in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
