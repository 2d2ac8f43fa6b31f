"""Nodes and weights of an ONNX graph, written one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10
MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
LARGE_BYTES = 1024  # larger constants go to the file of weights, which is mapped
ALIGNED_BYTES = 64  # of a constant in it: a cache line

Array = NDArray[Any]


class GraphWriter:
    """Collects a graph over a checkpoint's weights, which it writes at once; `save` writes the graph."""

    def __init__(self, state: Mapping[str, torch.Tensor], path: Path) -> None:
        """The graph will lie at `path`, its weights beside it, for ONNX Runtime to map."""
        self._state = state
        self._path = path
        self._weights = path.with_name(f"{path.name}.data")
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def weight(self, name: str) -> Array:
        """One of the checkpoint's weights, float32."""
        return self._state[name].float().numpy()

    def input(self, name: str, shape: Sequence[str | int], kind: int = TensorProto.FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, shape: Sequence[str | int]) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def constant(self, name: str, value: Array) -> str:
        """The constant of this name, stored once."""
        if name not in self._constants:
            is_large = value.nbytes >= LARGE_BYTES
            self._constants[name] = (self._stored if is_large else numpy_helper.from_array)(value, name)
        return name

    def _stored(self, value: Array, name: str) -> onnx.TensorProto:
        """A constant in the file of weights, written at once: onnx would hold each three times."""
        with self._weights.open("ab") as file:
            file.write(bytes(-file.tell() % ALIGNED_BYTES))
            place = {"location": self._weights.name, "offset": file.tell(), "length": value.nbytes}
            file.write(np.ascontiguousarray(value).data)
        return TensorProto(
            name=name,
            dims=value.shape,
            data_type=helper.np_dtype_to_tensor_dtype(value.dtype),
            data_location=TensorProto.EXTERNAL,
            external_data=[
                onnx.StringStringEntryProto(key=key, value=str(known)) for key, known in place.items()
            ],
        )

    def ints(self, *values: int) -> str:
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def op(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str] = (),
        *,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Adds a node; returns the name of its first output, made up where `outputs` names none."""
        name = f"{kind}_{len(self._nodes)}"
        names = list(outputs) or [name]
        self._nodes.append(
            helper.make_node(kind, list(inputs), names, name=name, domain=domain, **attributes)
        )
        return names[0]

    def linear(self, value: str, name: str, weight: Array, bias: Array | None) -> str:
        """value @ weight.T + bias; weight: [out, in]."""
        product = self.op("MatMul", [value, self.constant(f"{name}.w", weight.T)])
        return product if bias is None else self.op("Add", [product, self.constant(f"{name}.b", bias)])

    def tied(self, value: str, table: str, weight: Array, output: str) -> None:
        """`output` = value @ weight.T, where the constant `table` holds the weight, [out, in]."""
        self.op("MatMul", [value, self.op("Transpose", [table], perm=[1, 0])], [output])

    def layer(self, value: str, prefix: str) -> str:
        """The checkpoint's linear layer `prefix`."""
        bias = f"{prefix}.bias"
        has_bias = bias in self._state
        return self.linear(
            value, prefix, self.weight(f"{prefix}.weight"), self.weight(bias) if has_bias else None
        )

    def transposed_layer(self, value: str, prefix: str) -> str:
        """The same of [batch, in, length], as [batch, out, length]."""
        product = self.op("MatMul", [self.constant(f"{prefix}.w", self.weight(f"{prefix}.weight")), value])
        bias = f"{prefix}.bias"
        if bias not in self._state:
            return product
        return self.op("Add", [product, self.constant(f"{prefix}.b", self.weight(bias)[:, None])])

    def norm(self, value: str, prefix: str, *outputs: str) -> str:
        """The checkpoint's layer normalisation `prefix`."""
        parts = [self.constant(name, self.weight(name)) for name in (f"{prefix}.weight", f"{prefix}.bias")]
        return self.op("LayerNormalization", [value, *parts], outputs, axis=-1, epsilon=1e-5)

    def qkv(self, value: str, prefix: str) -> str:
        """Queries, keys and values of one attention beside each other, [..., 3 * state]."""
        weight = np.concatenate(
            [self.weight(f"{prefix}.{name}.weight") for name in ("query", "key", "value")]
        )
        return self.linear(value, f"{prefix}.qkv", weight, self.qkv_bias(prefix))

    def qkv_bias(self, prefix: str) -> Array:
        """Their bias, [3 * state]."""
        queries, values = (self.weight(f"{prefix}.{name}.bias") for name in ("query", "value"))
        return np.concatenate([queries, np.zeros_like(queries), values])  # keys have none

    def heads(self, value: str, heads: int, size: int) -> str:
        """[batch, length, state] → [batch, heads, length, size]."""
        return self.op(
            "Transpose", [self.op("Reshape", [value, self.ints(0, -1, heads, size)])], perm=[0, 2, 1, 3]
        )

    def merged(self, value: str, state: int) -> str:
        """[batch, heads, length, size] → [batch, length, state]."""
        return self.op("Reshape", [self.op("Transpose", [value], perm=[0, 2, 1, 3]), self.ints(0, -1, state)])

    def mlp(self, value: str, block: str) -> str:
        """A block's residual MLP."""
        hidden = self.op("Gelu", [self.layer(self.norm(value, f"{block}.mlp_ln"), f"{block}.mlp.0")])
        return self.op("Add", [value, self.layer(hidden, f"{block}.mlp.2")])

    def save(self) -> None:
        graph = helper.make_graph(
            self._nodes, self._path.stem, self._inputs, self._outputs, list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        self._path.write_bytes(model.SerializeToString())
