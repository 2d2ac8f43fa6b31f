"""`python -m scripts.maintenance.vad_network`: Silero's network as products of large matrices.

Its convolutions go over four time steps of a 32 ms frame, one frame after the other, which uses a fifth of a
processor's arithmetic. Over so few steps a convolution is one matrix; with it, all frames of a recording are
one product. The results differ by rounding, 2e-5 at most on real speech, in a third of the processor time.

Plain ONNX in and out, read and written here by hand: both are a few nested fields of Protocol Buffers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests/asr/data/silero_vad_16k_sequence.onnx"  # as Silero publishes it
TARGET = ROOT / "asr/assets/silero_vad_16k_matrices.onnx"

STEPS = 4  # spectra of a frame
BINS = 129
STATE = 128
STRIDES = (1, 2, 2, 1)  # of the convolutions, each three steps wide with one of zeros at both ends
IR_VERSION, OPSET = 8, 17
VARINT, BYTES = 0, 2  # kinds of a field
FLOAT, INT64 = 1, 7  # ONNX's types of numbers
INTEGER = 2  # ONNX's type of an attribute

Weights = dict[str, NDArray[Any]]
Shape = tuple[int | str, ...]


def rewritten(source: bytes) -> bytes:
    """The same network, for pieces of frames: see `asr.audio.vad`."""
    weights = matrices(read_weights(source))
    graph = b"".join(field(1, node) for node in nodes())
    graph += field(2, b"silero_vad")
    graph += b"".join(field(5, tensor(name, values)) for name, values in weights.items())
    state: Shape = (1, 1, STATE)
    inputs: dict[str, Shape] = {"pieces": ("pieces", 2 * (BINS - 1)), "h": state, "c": state}
    outputs: dict[str, Shape] = {"speech_probs": ("frames",), "hn": state, "cn": state}
    graph += b"".join(field(11, value_info(name, shape)) for name, shape in inputs.items())
    graph += b"".join(field(12, value_info(name, shape)) for name, shape in outputs.items())
    producer, opset = field(2, b"scripts.vad_network"), field(2, OPSET)
    return field(1, IR_VERSION) + producer + field(7, graph) + field(8, opset)


def matrices(found: Weights) -> Weights:
    """The weights as the nodes below use them."""
    weights: Weights = {"basis": found["stft.forward_basis_buffer"][:, 0].T}
    steps = STEPS
    for i, stride in enumerate(STRIDES):
        kernel, bias = found[f"encoder.{i}.weight"], found[f"encoder.{i}.bias"]
        weights[f"w{i}"] = matrix_of(kernel, steps, stride)
        steps = weights[f"w{i}"].shape[1] // len(bias)
        weights[f"b{i}"] = np.tile(bias, steps)
    weights |= {"W": found["onnx::LSTM_209"], "R": found["onnx::LSTM_210"], "B": found["onnx::LSTM_211"]}
    weights |= {"w_out": found["output.weight"].reshape(1, STATE).T, "b_out": found["output.bias"]}
    shapes = {"spectra": (-1, STEPS * BINS), "sequence": (-1, 1, STATE), "rows": (-1, STATE), "flat": (-1,)}
    return weights | {name: np.array(shape, np.int64) for name, shape in shapes.items()}


def matrix_of(kernel: NDArray[Any], steps: int, stride: int) -> NDArray[Any]:
    """A convolution over `steps` steps as a matrix: [steps * inputs, ceil(steps / stride) * outputs]."""
    num_outputs, num_inputs, width = kernel.shape
    ends = range(0, steps, stride)
    matrix = np.zeros((steps, num_inputs, len(ends), num_outputs), np.float32)
    for index, centre in enumerate(ends):
        for tap in range(width):
            if 0 <= (step := centre + tap - width // 2) < steps:
                matrix[step, :, index] = kernel[:, :, tap].T
    return matrix.reshape(steps * num_inputs, -1)


def nodes() -> Iterator[bytes]:
    """Pieces → magnitudes of their spectra → four layers → the recurrent one → a probability."""
    yield node("MatMul", ["pieces", "basis"], ["spectrum"])
    yield node("Split", ["spectrum"], ["real", "imaginary"], axis=1)
    yield node("Mul", ["real", "real"], ["real2"])
    yield node("Mul", ["imaginary", "imaginary"], ["imaginary2"])
    yield node("Add", ["real2", "imaginary2"], ["power"])
    yield node("Sqrt", ["power"], ["magnitude"])
    yield node("Reshape", ["magnitude", "spectra"], ["x0"])
    for i in range(len(STRIDES)):
        yield node("Gemm", [f"x{i}", f"w{i}", f"b{i}"], [f"y{i}"])
        yield node("Relu", [f"y{i}"], [f"x{i + 1}"])
    yield node("Reshape", [f"x{len(STRIDES)}", "sequence"], ["steps"])
    yield node("LSTM", ["steps", "W", "R", "B", "", "h", "c"], ["states", "hn", "cn"], hidden_size=STATE)
    yield node("Reshape", ["states", "rows"], ["hidden"])
    yield node("Relu", ["hidden"], ["positive"])
    yield node("Gemm", ["positive", "w_out", "b_out"], ["logit"])
    yield node("Sigmoid", ["logit"], ["prob"])
    yield node("Reshape", ["prob", "flat"], ["speech_probs"])


# ---- ONNX


def read_weights(model: bytes) -> Weights:
    """The float tensors of a model by name."""
    [graph] = [value for number, value in read_fields(model) if number == 7]
    weights: Weights = {}
    for number, value in read_fields(graph):
        parts = list(read_fields(value)) if number == 5 else []
        if (2, FLOAT) in parts:
            [name] = [part.decode() for key, part in parts if key == 8]
            [data] = [part for key, part in parts if key == 9]
            weights[name] = np.frombuffer(data, "<f4").reshape([part for key, part in parts if key == 1])
    return weights


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: int) -> bytes:
    message = b"".join(field(1, name.encode()) for name in inputs)
    message += b"".join(field(2, name.encode()) for name in outputs) + field(4, kind.encode())
    for name, value in attributes.items():
        message += field(5, field(1, name.encode()) + field(3, value) + field(20, INTEGER))
    return message


def tensor(name: str, values: NDArray[Any]) -> bytes:
    kind = INT64 if values.dtype == np.int64 else FLOAT
    data = np.ascontiguousarray(values, "<i8" if kind == INT64 else "<f4").tobytes()
    shape = b"".join(field(1, size) for size in values.shape)
    return shape + field(2, kind) + field(8, name.encode()) + field(9, data)


def value_info(name: str, shape: Shape) -> bytes:
    """A tensor of floats; a name in its shape is a size that varies."""
    sizes = (field(1, size) if isinstance(size, int) else field(2, size.encode()) for size in shape)
    tensor_type = field(1, FLOAT) + field(2, b"".join(field(1, size) for size in sizes))
    return field(1, name.encode()) + field(2, field(1, tensor_type))


# ---- Protocol Buffers


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def read_fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values; those of fixed width, which no tensor here has, are refused."""
    position = 0
    while position < len(message):
        key, position = read_varint(message, position)
        value, position = read_varint(message, position)
        if key & 7 == BYTES:
            yield key >> 3, message[position : position + value]
            position += value
        elif key & 7 == VARINT:
            yield key >> 3, value
        else:
            raise ValueError(f"field {key >> 3} is of kind {key & 7}, must be {VARINT} or {BYTES}")


def read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position


def main() -> int:
    TARGET.write_bytes(rewritten(SOURCE.read_bytes()))
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
