"""One value of a request, as text or JSON → the value its field takes; each kind names what is allowed."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from asr.bounds import field_types
from asr.errors import InvalidOption
from asr.languages import LANGUAGES
from asr.request.language_tags import UNDETERMINED, language_of

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
FLAGS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
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


def without_blanks(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value: form builders send an empty text for "not set", other programs null.

    Empty texts in a list are left out; an empty list is a value.
    """
    filled: dict[str, Any] = {}
    for name, raw in fields.items():
        if isinstance(raw, list | tuple):
            values = [value for value in raw if not _is_blank(value)]
            if values or not raw:
                filled[name] = values
        elif not _is_blank(raw):
            filled[name] = raw
    return filled


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


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


def kind_of(cls: type, name: str, *, or_none: bool = False) -> Number | Flag:
    """What the field `name` of a dataclass takes: a flag, or a number within the bounds of its annotation.

    or_none: "none" is a value too, not only the lack of one.
    """
    kind = field_types(cls)[name]
    if kind.type is bool:
        return Flag()
    assert kind.interval is not None, f"{cls.__name__}.{name} has no Interval"
    return Number(*kind.interval, whole=kind.type is int, or_none=or_none)


@dataclass(frozen=True)
class OneOf:
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
    """A language as `asr.request.language_tags` reads it: Whisper's code, None where it is to be detected."""

    allowed: str = "a language's code, tag or English name (en, hin, pt-BR, zh-Hant, hindi …), or auto"

    def read(self, name: str, value: Any) -> str | None:
        if not isinstance(value, str):
            raise invalid(name, value, self.allowed)
        if value.strip().lower() in UNDETERMINED:
            return None
        code = language_of(value)
        if code is None:
            known = ", ".join(LANGUAGES)
            raise invalid(name, value, f"auto, or a code, tag or English name of one of {known}")
        return code


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
            return [item for item in parsed if not _is_blank(item)]
    return [item.strip() for item in value.split(",") if item.strip()]
