"""`python -m scripts.maintenance.vad_network`: Silero's network as products of large matrices.

Its convolutions go over four time steps of a 32 ms frame, one frame after the other, which uses a fifth of a
processor's arithmetic. Over so few steps a convolution is one matrix; with it, all frames of a recording are
one product. The results differ by rounding, 2e-5 at most on real speech, in a third of the processor time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import OperatorSetIdProto, TensorProto, helper, numpy_helper
from onnx.helper import make_node

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests/asr/data/silero_vad_16k_sequence.onnx"  # as Silero publishes it
TARGET = ROOT / "asr/assets/silero_vad_16k_matrices.onnx"

STEPS = 4  # spectra of a frame
BINS = 129
STATE = 128
STRIDES = (1, 2, 2, 1)  # of the convolutions, each three steps wide with one of zeros at both ends
IR_VERSION, OPSET = 8, 17

Weights = dict[str, NDArray[Any]]


def rewritten(source: bytes) -> bytes:
    """The same network, for pieces of frames: see `asr.audio.vad`."""
    weights = matrices(read_weights(source))
    graph = helper.make_graph(
        list(nodes()),
        "silero_vad",
        [floats("pieces", "pieces", 2 * (BINS - 1)), floats("h", 1, 1, STATE), floats("c", 1, 1, STATE)],
        [floats("speech_probs", "frames"), floats("hn", 1, 1, STATE), floats("cn", 1, 1, STATE)],
        [numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in weights.items()],
    )
    opsets = [OperatorSetIdProto(version=OPSET)]
    model = helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=opsets, producer_name="scripts.vad_network"
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """A tensor that goes in or comes out; a name in its shape is a size that varies."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def read_weights(model: bytes) -> Weights:
    """The float tensors of a model by name."""
    tensors = onnx.load_from_string(model).graph.initializer
    return {one.name: numpy_helper.to_array(one) for one in tensors if one.data_type == TensorProto.FLOAT}


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


def nodes() -> Iterator[onnx.NodeProto]:
    """Pieces → magnitudes of their spectra → four layers → the recurrent one → a probability."""
    yield make_node("MatMul", ["pieces", "basis"], ["spectrum"])
    yield make_node("Split", ["spectrum"], ["real", "imaginary"], axis=1)
    yield make_node("Mul", ["real", "real"], ["real2"])
    yield make_node("Mul", ["imaginary", "imaginary"], ["imaginary2"])
    yield make_node("Add", ["real2", "imaginary2"], ["power"])
    yield make_node("Sqrt", ["power"], ["magnitude"])
    yield make_node("Reshape", ["magnitude", "spectra"], ["x0"])
    for i in range(len(STRIDES)):
        yield make_node("Gemm", [f"x{i}", f"w{i}", f"b{i}"], [f"y{i}"])
        yield make_node("Relu", [f"y{i}"], [f"x{i + 1}"])
    yield make_node("Reshape", [f"x{len(STRIDES)}", "sequence"], ["steps"])
    yield make_node("LSTM", ["steps", "W", "R", "B", "", "h", "c"], ["states", "hn", "cn"], hidden_size=STATE)
    yield make_node("Reshape", ["states", "rows"], ["hidden"])
    yield make_node("Relu", ["hidden"], ["positive"])
    yield make_node("Gemm", ["positive", "w_out", "b_out"], ["logit"])
    yield make_node("Sigmoid", ["logit"], ["prob"])
    yield make_node("Reshape", ["prob", "flat"], ["speech_probs"])


def main() -> int:
    TARGET.write_bytes(rewritten(SOURCE.read_bytes()))
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
