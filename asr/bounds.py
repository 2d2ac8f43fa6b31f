"""Bounds of a dataclass's fields, beside their types: Annotated[int, Range(1, 448)].

A type checker reads the type; `asr.request.fields` and `asr.wire` read the bounds too.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Range:
    """A number of low..high, both included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class MaxLength:
    """At most `length` characters of a text, or items of a tuple."""

    length: int


@dataclass(frozen=True, slots=True)
class Bounded:
    """An annotation taken apart."""

    type: Any  # neither None nor bounds in it
    range: Range | None
    max_length: int | None
    or_none: bool


def field_types(cls: type) -> dict[str, Bounded]:
    """Field name → what its annotation says."""
    return {name: bounded(hint) for name, hint in get_type_hints(cls, include_extras=True).items()}


def bounded(hint: Any) -> Bounded:
    """`X`, `Annotated[X, bounds …]`, or one of them `| None`, taken apart."""
    or_none = False
    if get_origin(hint) in (Union, UnionType):
        [hint] = (part for part in get_args(hint) if part is not NoneType)
        or_none = True
    plain, *bounds = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    ranges: list[Range] = [bound for bound in bounds if isinstance(bound, Range)]
    lengths: list[int] = [bound.length for bound in bounds if isinstance(bound, MaxLength)]
    return Bounded(plain, next(iter(ranges), None), next(iter(lengths), None), or_none)
