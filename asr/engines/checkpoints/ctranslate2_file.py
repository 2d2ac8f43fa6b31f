"""CTranslate2's `model.bin`: its variables by name, as arrays on the mapped file.

Little endian: u32 format, string name of the spec, u32 revision, u32 count; per variable a string name, u8
rank, u32 per dimension, u8 type, u32 bytes, data; u32 count of aliases, each two strings. A string is its u16
length in bytes, then those, a NUL the last (ctranslate2/specs/model_spec.py, `_serialize`).

Nothing in the file is believed before it is held against the file's size, so that no number in it can ask for
memory that the file does not fill.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.config import ConfigError

Array = NDArray[Any]

FORMAT = 6
DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
BFLOAT16 = 5
MAX_VARIABLES = 20_000  # large-v3 has 1,044
MAX_RANK = 4


@dataclass(frozen=True, slots=True)
class Variables:
    """What a model.bin holds: the name of its spec, and arrays by name, aliases among them."""

    spec: str
    arrays: dict[str, Array]


def read_variables(file: Path) -> Variables:
    """The variables of `file`, which is mapped and never written; raises ConfigError when it is not whole."""
    try:
        with file.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        return _Reader(mapped).variables()
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise ConfigError(f"engine.model: {str(file)!r} is no model.bin of CTranslate2: {error}") from error


class _Reader:
    """A position in the mapped file; raises ValueError with the reason where the file ends too soon."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = mapped
        self._at = 0

    def variables(self) -> Variables:
        if (version := self._number("I")) != FORMAT:
            raise ValueError(f"its format is {version}, must be {FORMAT}")
        spec = self._string()
        self._number("I")  # revision: only the spec's defaults changed, and config.json has those
        arrays: dict[str, Array] = {}
        for _ in range(self._count("variables")):
            name = self._string()
            if name in arrays:
                raise ValueError(f"it holds {name!r} twice")
            arrays[name] = self._array(name)
        for _ in range(self._count("aliases")):
            alias, name = self._string(), self._string()
            if name not in arrays or alias in arrays:
                raise ValueError(f"its alias {alias!r} of {name!r} is none")
            arrays[alias] = arrays[name]
        if self._at != len(self._mapped):
            raise ValueError(f"{len(self._mapped) - self._at} bytes follow its end")
        return Variables(spec, arrays)

    def _array(self, name: str) -> Array:
        if (rank := self._number("B")) > MAX_RANK:
            raise ValueError(f"{name!r} has {rank} dimensions")
        shape = tuple(self._number("I") for _ in range(rank))
        kind, size = self._number("B"), self._number("I")
        if kind == BFLOAT16:
            raise ValueError(f"{name!r} is in bfloat16: convert the model with --quantization float16")
        if kind not in DTYPES:
            raise ValueError(f"{name!r} has the unknown type {kind}")
        dtype = np.dtype(DTYPES[kind])
        if size != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name!r} has {size} bytes, its shape {list(shape)} asks for another number")
        start = self._skip(size)
        array = np.frombuffer(self._mapped, dtype, math.prod(shape), start).reshape(shape)
        return np.require(array, requirements="A")  # the file aligns nothing, torch wants it

    def _count(self, what: str) -> int:
        if (count := self._number("I")) > MAX_VARIABLES:
            raise ValueError(f"it claims {count} {what}")
        return count

    def _number(self, kind: str) -> int:
        size = struct.calcsize(f"<{kind}")
        start = self._skip(size)
        return int(struct.unpack(f"<{kind}", self._mapped[start : start + size])[0])

    def _string(self) -> str:
        size = self._number("H")
        start = self._skip(size)
        return self._mapped[start : start + size].removesuffix(b"\0").decode("utf-8")

    def _skip(self, size: int) -> int:
        """Where the next `size` bytes begin."""
        start, self._at = self._at, self._at + size
        if self._at > len(self._mapped):
            raise ValueError(f"it ends after {len(self._mapped)} bytes, where more must follow")
        return start
