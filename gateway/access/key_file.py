"""The file of API keys that `access.keys_file` names; gateway/access/keys.py shows one."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from gateway.access.key_entry import KeyEntry
from gateway.settings import SettingsError
from gateway.settings_errors import complaints, read_yaml


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
