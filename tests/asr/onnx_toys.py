"""Graphs written node by node: what the toy models for sherpa-onnx are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
Dims = Sequence[str | int]


class Nodes:
    """A graph that grows: each method gives the name of a value in it."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: Any) -> str:
        """Whole numbers are int64."""
        self._constants.append(numpy_helper.from_array(np.asarray(value), f"constant{len(self._constants)}"))
        return self._constants[-1].name

    def add(self, operator: str, *inputs: str | int, name: str = "", **attributes: int) -> str:
        """The value of an operator over values and whole numbers."""
        output = name or f"{operator}{len(self._nodes)}"
        sides = [self.constant(each) if isinstance(each, int) else each for each in inputs]
        self._nodes.append(helper.make_node(operator, sides, [output], **attributes))
        return output

    def size(self, of: str, axis: int) -> str:
        """A value's size along an axis."""
        return self.add("Gather", self.add("Shape", of), axis)

    def save(
        self, file: Path, inputs: Mapping[str, Any], outputs: Mapping[str, Any], **metadata: str
    ) -> None:
        """The graph as a file. A side is its name and its dimensions, or its type and these."""
        graph = helper.make_graph(
            self._nodes, "toy", [_side(*each) for each in inputs.items()],
            [_side(*each) for each in outputs.items()], self._constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        onnx.save(model, file)


def _side(name: str, given: Any) -> onnx.ValueInfoProto:
    kind, dims = given if isinstance(given, tuple) else (FLOAT, given)
    return helper.make_tensor_value_info(name, kind, dims)


def one_hot(size: int) -> np.ndarray:
    """Scores [tokens, tokens]: row n is sure of token n."""
    return np.where(np.eye(size, dtype=bool), 0.0, -20.0).astype(np.float32)


def write_tokens(folder: Path, tokens: Sequence[str]) -> None:
    """tokens.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{token} {number}\n" for number, token in enumerate(tokens))
    (folder / "tokens.txt").write_text(lines, encoding="utf-8")
