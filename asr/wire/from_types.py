"""A dataclass → the checks of its values on the wire, and its values → JSON. Both follow its annotations."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

from asr.bounds import Bounded, bounded, field_types
from asr.wire.checks import Check, each, flag, many, maybe, number, one_of, read, text, whole


@functools.cache
def checks_of(cls: type, without: str = "") -> dict[str, Check]:
    """Field name → the check of its value, all fields but one.

    Raises TypeError for a type that JSON cannot carry, or that its annotation does not bound.
    """
    return {name: _check(kind) for name, kind in field_types(cls).items() if name != without}


def required_of(cls: type, without: str = "") -> tuple[str, ...]:
    """The names of the fields that have no default."""
    return tuple(
        field.name
        for field in dataclasses.fields(cls)
        if _default(field) is dataclasses.MISSING and field.name != without
    )


def to_json(value: Any, without: str = "") -> Any:
    """`value` as JSON can hold it: a dataclass is an object of the fields that differ from their default, all
    but one, and the numbers that JSON lacks are "inf", "-inf" and "nan"."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if field.name != without]
        items = {field.name: (getattr(value, field.name), _default(field)) for field in fields}
        return {name: to_json(item) for name, (item, default) in items.items() if item != default}
    return value


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _check(kind: Bounded) -> Check:
    plain = kind.type
    if plain in SCALARS:
        check = SCALARS[plain](kind)
    elif isinstance(plain, type) and dataclasses.is_dataclass(plain):
        check = _record(plain)
    elif get_origin(plain) is Literal:
        check = one_of(*get_args(plain))
    elif get_origin(plain) is tuple:
        check = _items(kind)
    else:
        raise TypeError(f"the wire carries no {plain}")
    return maybe(check) if kind.or_none else check


def _record(cls: type) -> Check:
    """An object with the fields of a dataclass."""
    keys, required = checks_of(cls), required_of(cls)
    return lambda value: cls(**read(keys, value, "", required))


def _items(kind: Bounded) -> Check:
    items = get_args(kind.type)
    checks = [_check(bounded(item)) for item in items if item is not Ellipsis]
    return many(checks[0], _length(kind)) if Ellipsis in items else each(*checks)


def _whole(kind: Bounded) -> Check:
    if kind.interval is None:
        raise TypeError("a whole number on the wire needs an Interval")
    low, high = kind.interval
    return whole(int(low), int(high))


def _number(kind: Bounded) -> Check:
    return number() if kind.interval is None else number(*kind.interval)


def _length(kind: Bounded) -> int:
    if kind.max_length is None:
        raise TypeError(f"{kind.type} on the wire needs a MaxLen")
    return kind.max_length


SCALARS: Mapping[Any, Callable[[Bounded], Check]] = {
    bool: lambda kind: flag,
    int: _whole,
    float: _number,
    str: lambda kind: text(_length(kind), is_unicode=kind.is_unicode),
}
