"""What a dataclass says of its fields: Annotated[int, Interval(ge=1, le=448)] | None, taken apart.

The bounds are those of annotated_types, which pydantic reads too.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from annotated_types import Interval, MaxLen


class Unicode:
    """Marks a text that may hold any character. On the wire every other text is ASCII."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A field's annotation."""

    type: Any  # without None and without bounds
    interval: tuple[float, float] | None  # of a number, both ends included
    max_length: int | None  # of a text or a tuple
    or_none: bool
    is_unicode: bool = False


def field_types(cls: type) -> dict[str, Bounded]:
    """Field name → what its annotation says."""
    return {name: bounded(hint) for name, hint in get_type_hints(cls, include_extras=True).items()}


def bounded(hint: Any) -> Bounded:
    """An annotation: a type, `Annotated[type, bounds …]`, or one of them `| None`."""
    or_none = get_origin(hint) in (Union, UnionType)
    if or_none:
        [hint] = (part for part in get_args(hint) if part is not NoneType)
    plain, *bounds = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    interval: Any = next(((each.ge, each.le) for each in bounds if isinstance(each, Interval)), None)
    max_length = next((each.max_length for each in bounds if isinstance(each, MaxLen)), None)
    is_unicode = any(isinstance(each, Unicode) for each in bounds)
    return Bounded(plain, interval, max_length, or_none, is_unicode)
