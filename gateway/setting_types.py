"""What a value in the settings may be, and how a variable spells it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AnyHttpUrl, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode


def _listed(value: Any) -> Any:
    """A list from an environment variable: JSON, or entries separated by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [entry.strip() for entry in value.split(",") if entry.strip()]


def _flag(value: Any) -> Any:
    """True or false from an environment variable, which a Literal does not parse itself."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Urls = Annotated[tuple[AnyHttpUrl, ...], NoDecode, BeforeValidator(_listed)]
# "loopback": to this machine; true: to everybody; false: to nobody
MetricsOpen = Annotated[Literal["loopback", True, False], BeforeValidator(_flag)]
MIN_KEY_CHARS, MAX_KEY_CHARS = 16, 512
ApiKey = Annotated[SecretStr, Field(min_length=MIN_KEY_CHARS, max_length=MAX_KEY_CHARS)]
ApiKeys = Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_listed)]
