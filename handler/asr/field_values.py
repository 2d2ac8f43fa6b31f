"""One request value, text or JSON, read as what its field takes; each kind says what would be right."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Protocol

from asr.errors import InvalidOption
from asr.languages import LANGUAGE_CODES, LANGUAGES

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
FLAGS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
MAX_ECHO_CHARS = 80  # of a bad value, in an error message


class Kind(Protocol):
    """What a field takes."""

    @property
    def allowed(self) -> str:
        """What would be right, for messages and the options table."""
        ...

    def read(self, name: str, value: Any) -> Any:
        """The value in the core's type; raises InvalidOption."""
        ...


def invalid(name: str, value: Any, allowed: str) -> InvalidOption:
    """The error for a bad value: field, value, what would be right."""
    try:
        shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    except RecursionError:
        shown = f"a deeply nested {type(value).__name__}"
    if len(shown) > MAX_ECHO_CHARS:
        shown = f"{shown[:MAX_ECHO_CHARS]}…"
    return InvalidOption(f"{name} is {shown}, must be {allowed}", param=name)


@dataclass(frozen=True)
class Number:
    """A finite number within low..high; whole where `whole`, None where `or_none` and "none" is sent."""

    low: float
    high: float
    whole: bool = False
    or_none: bool = False

    @property
    def allowed(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} {self.low:g}..{self.high:g}{' or none' if self.or_none else ''}"

    def read(self, name: str, value: Any) -> float | int | None:
        if self.or_none and isinstance(value, str) and value.strip().lower() == "none":
            return None
        number = self._number(value)
        if number is None or not math.isfinite(number) or not self.low <= number <= self.high:
            raise invalid(name, value, self.allowed)
        return int(number) if self.whole else number

    def _number(self, value: Any) -> float | None:
        if isinstance(value, str):
            pattern = WHOLE_NUMBER if self.whole else DECIMAL_NUMBER
            return float(value) if pattern.fullmatch(value.strip()) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if isinstance(value, int):
            return float(value) if abs(value) < 2**53 else None
        return None if self.whole and not value.is_integer() else value


@dataclass(frozen=True)
class Flag:
    """true or false; Python's and form spellings too, in any case."""

    allowed: str = "true or false"

    def read(self, name: str, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        key = str(value).strip().lower() if isinstance(value, str | int) else ""
        if key not in FLAGS:
            raise invalid(name, value, self.allowed)
        return FLAGS[key]


@dataclass(frozen=True)
class Choice:
    """One of a few names, exactly as written."""

    names: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.names)}" if len(self.names) > 1 else self.names[0]

    def read(self, name: str, value: Any) -> str:
        if isinstance(value, str) and value in self.names:
            return value
        lower = value.strip().lower() if isinstance(value, str) else ""
        hint = f" (did you mean {lower!r}?)" if lower in self.names else ""
        if lower == "diarized_json":
            hint = "; this server does not tell speakers apart"
        raise invalid(name, value, self.allowed + hint)


@dataclass(frozen=True)
class Text:
    """Text without control characters; line breaks and tabs stay."""

    max_chars: int
    min_chars: int = 0

    @property
    def allowed(self) -> str:
        return (
            f"text of {self.min_chars}..{self.max_chars} characters"
            if self.min_chars
            else (f"text of at most {self.max_chars} characters")
        )

    def read(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise invalid(name, value, self.allowed)
        if len(value) > self.max_chars:
            raise InvalidOption(f"{name} has {len(value)} characters, must be {self.allowed}", param=name)
        text = "".join(
            char for char in value if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs")
        )
        if len(text.strip()) < self.min_chars:
            raise invalid(name, value, self.allowed)
        return text


@dataclass(frozen=True)
class Language:
    """A language's code or English name, in any case, with or without a region: the code, None for auto."""

    allowed: str = "a language code or English name (en, hindi …), or auto"

    def read(self, name: str, value: Any) -> str | None:
        if not isinstance(value, str):
            raise invalid(name, value, self.allowed)
        key = value.strip().lower()
        if key in ("", "auto"):
            return None
        for candidate in (key, re.split("[-_]", key)[0]):
            code = candidate if candidate in LANGUAGES else LANGUAGE_CODES.get(candidate)
            if code:
                return code
        raise invalid(name, value, f"auto or one of {', '.join(LANGUAGES)}, or an English name of one")


@dataclass(frozen=True)
class Items:
    """Several values: repeated fields, a JSON list, or one text with commas."""

    of: Kind
    max_items: int

    @property
    def allowed(self) -> str:
        if self.max_items == 1:
            return self.of.allowed
        return f"up to {self.max_items} values with commas between, each {self.of.allowed}"

    def read(self, name: str, value: Any) -> tuple[Any, ...]:
        parts = list(value) if isinstance(value, list | tuple) else [value]
        items = split(parts[0]) if len(parts) == 1 else parts  # of several, commas belong to the values
        if len(items) > self.max_items:
            raise InvalidOption(f"{name} has {len(items)} values, must be {self.allowed}", param=name)
        return tuple(self.of.read(name, item) for item in items)


def split(value: Any) -> list[Any]:
    """The values in one text: a JSON list, else cut at commas."""
    if not isinstance(value, str):
        return [value]
    if value.lstrip().startswith("["):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, list):
            return parsed
    return [item.strip() for item in value.split(",") if item.strip()]
