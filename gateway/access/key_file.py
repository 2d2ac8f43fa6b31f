"""The file of API keys that `access.keys_file` names; gateway/access/keys.py shows one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.caller import Caller
from gateway.setting_types import ApiKey, Count, Positive
from gateway.settings import AccessSettings, SettingsError
from gateway.settings_errors import complaints, read_yaml


class KeyEntry(BaseModel):
    """One caller of the keys file: whose key it is, and what it allows."""

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


class KeyFile(BaseModel):
    """The keys file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[KeyEntry, ...]

    @model_validator(mode="after")
    def _nobody_twice(self) -> KeyFile:
        for what, values in (("name", [e.name for e in self.keys]), ("key", [e.digest for e in self.keys])):
            if twice := next((i for i, value in enumerate(values) if value in values[:i]), None):
                raise ValueError(f"entry {self.keys[twice].name} has the {what} of an earlier one")
        return self


def read_key_file(path: Path) -> KeyFile:
    """The file's entries; raises SettingsError with one line that names the file and what is wrong in it."""
    try:
        return KeyFile.model_validate(read_yaml(path))
    except ValidationError as error:
        raise SettingsError(f"{path}: {complaints(error, KeyFile)[0]}") from error


def key_digest(key: str) -> str:
    """SHA-256 of a key, in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
