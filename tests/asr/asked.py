"""Request options by the plain names of their fields, those of every window among them."""

from __future__ import annotations

import dataclasses
from typing import Any

from asr.request.options import RequestOptions
from asr.schema import DecodingOptions

OF_THE_REQUEST = {field.name for field in dataclasses.fields(RequestOptions)}
OF_A_WINDOW = {field.name for field in dataclasses.fields(DecodingOptions)} - OF_THE_REQUEST


def asked(base: RequestOptions | None = None, **changes: Any) -> RequestOptions:
    """`base`, or the defaults, with changes: asked(language="en", temperatures=(0.0,))."""
    base = base or RequestOptions()
    decoding = {name: changes.pop(name) for name in OF_A_WINDOW & set(changes)}
    return dataclasses.replace(base, decoding=dataclasses.replace(base.decoding, **decoding), **changes)
