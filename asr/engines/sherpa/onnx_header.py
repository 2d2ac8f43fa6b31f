"""What an ONNX file says of itself, read without its weights: metadata, and the shapes of inputs and outputs.

An ONNX file is a protobuf message whose weights are fields like others: each begins with its length, so that
reading its header is a row of seeks, however large it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

# numbers of the fields in onnx.proto
IR_VERSION, GRAPH, METADATA = 1, 7, 14
INPUT, OUTPUT = 11, 12
FIXED_BYTES = {1: 8, 5: 4}  # of protobuf's fixed-size wire types
MAX_TEXT_BYTES = 16 << 20  # of one metadata entry; NeMo's longest are vocabularies
MAX_FIELDS = 1_000_000  # of a message: nodes and weights


class NotOnnx(ValueError):
    """The file is no ONNX model; the message says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """An ONNX model but for its nodes and weights."""

    metadata: dict[str, str]
    inputs: tuple[onnx.ValueInfoProto, ...]
    outputs: tuple[onnx.ValueInfoProto, ...]


def read_header(file: Path) -> Header:
    """The header of an ONNX file; raises NotOnnx, and OSError where it cannot be read."""
    try:
        return _header(file)
    except DecodeError as error:
        raise NotOnnx(f"its descriptions are no protobuf messages: {error}") from error


def _header(file: Path) -> Header:
    metadata: dict[str, str] = {}
    sides: dict[int, list[onnx.ValueInfoProto]] = {INPUT: [], OUTPUT: []}
    seen = set()
    with file.open("rb") as stream:
        for number, length in _fields(stream, file.stat().st_size):
            seen.add(number)
            if number == METADATA:
                entry = onnx.StringStringEntryProto.FromString(_text(stream, length))
                metadata[entry.key] = entry.value
            elif number == GRAPH:
                for inner, size in _fields(stream, stream.tell() + length):
                    if inner in sides:
                        sides[inner].append(onnx.ValueInfoProto.FromString(_text(stream, size)))
    if not {IR_VERSION, GRAPH} <= seen:
        raise NotOnnx("it has no graph")
    return Header(metadata, tuple(sides[INPUT]), tuple(sides[OUTPUT]))


def _fields(stream: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """The number and length of each field up to `end`; what its reader leaves is skipped."""
    for _ in range(MAX_FIELDS):
        if (at := stream.tell()) >= end:
            return
        tag = _varint(stream)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise NotOnnx(f"it holds no protobuf message at byte {at}")
        if kind == 0:
            _varint(stream)
            yield number, 0
            continue
        length = _varint(stream) if kind == 2 else FIXED_BYTES.get(kind)
        if length is None:
            raise NotOnnx(f"it holds no protobuf message at byte {at}")
        behind = stream.tell() + length
        if behind > end:
            raise NotOnnx(f"it is cut short: {behind - end} bytes are missing")
        yield number, length
        stream.seek(behind)
    raise NotOnnx(f"it has more than {MAX_FIELDS} parts")


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise NotOnnx("it is cut short")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise NotOnnx("it holds a number of more than 64 bits")


def _text(stream: BinaryIO, length: int) -> bytes:
    if length > MAX_TEXT_BYTES:
        raise NotOnnx(f"one of its descriptions has {length} bytes")
    return stream.read(length)
