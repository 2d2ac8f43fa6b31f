"""Checks of values that came over the wire: each returns the value or raises Malformed.

A check's message (" is 0, must be …") continues the path of its value, which `read` puts in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], Any]
MAX_ECHO_CHARS = 80
NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


class Malformed(ValueError):
    """A value that the protocol does not allow."""


def whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _wrong(value, f"a whole number {low}..{high}")
        return value

    return check


def number(low: float | None = None, high: float | None = None) -> Callable[[Any], float]:
    """A number; without bounds also "inf", "-inf" and "nan", which JSON lacks."""

    def check(value: Any) -> float:
        if low is None and isinstance(value, str) and value in NON_FINITE:
            return NON_FINITE[value]
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
            raise _wrong(value, "a number")
        if (
            not math.isfinite(value)
            or (low is not None and value < low)
            or (high is not None and value > high)
        ):
            raise _wrong(value, "a number" if low is None else f"a number {low:g}..{high:g}")
        return float(value)

    return check


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false")
    return value


def text(max_chars: int, *, is_unicode: bool = False) -> Callable[[Any], str]:
    kind = "text" if is_unicode else "ASCII text"

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > max_chars or not (is_unicode or value.isascii()):
            raise _wrong(value, f"{kind} of at most {max_chars} characters")
        return value

    return check


def one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise _wrong(value, f"one of {', '.join(names)}")
        return value

    return check


def maybe(inner: Check) -> Check:
    return lambda value: None if value is None else inner(value)


def many(inner: Check, max_items: int) -> Check:
    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > max_items:
            raise _wrong(value, f"a list of at most {max_items}")
        return tuple(inner(item) for item in value)

    return check


def each(*checks: Check) -> Check:
    """A list of as many values as there are checks, in their order."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(checks):
            raise _wrong(value, f"a list of {len(checks)}")
        return tuple(inner(item) for inner, item in zip(checks, value, strict=True))

    return check


def read(keys: Mapping[str, Check], raw: Any, where: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of the object `raw`, each checked; `where` is its path in messages.

    Raises Malformed, for unknown and missing keys too.
    """
    if not isinstance(raw, dict):
        raise Malformed(f"{where} must be an object, got {_shown(raw)}")
    if unknown := sorted(set(raw) - set(keys)):
        raise Malformed(f"{where} has unknown keys {_shown(unknown)}, known are {sorted(keys)}")
    if missing := [name for name in required if name not in raw]:
        raise Malformed(f"{where} lacks {missing}")
    values: dict[str, Any] = {}
    for name, value in raw.items():
        try:
            values[name] = keys[name](value)
        except Malformed as error:
            raise Malformed(f"{where}.{name}{error}") from error
    return values


def _wrong(value: Any, right: str) -> Malformed:
    return Malformed(f" is {_shown(value)}, must be {right}")


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except (RecursionError, ValueError):  # nested deeply, or an integer of thousands of digits
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= MAX_ECHO_CHARS else f"{shown[:MAX_ECHO_CHARS]}…"
