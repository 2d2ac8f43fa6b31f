"""Weights in eight bits, activations in float32: what a single decode step reads is halved again.

ONNX Runtime's MatMulNBits, 32 inputs a block, each block with a scale of its own. Its dynamic int8 is not
used: that takes one scale for the activations of a whole batch, which costs Whisper most of its words and
makes a window's text depend on its neighbours.
"""

from __future__ import annotations

import numpy as np

from asr.engines.ort.graph_writer import MICROSOFT, Array, GraphWriter

BITS = 8
BLOCK = 32  # inputs that share a scale
ZERO = 128  # MatMulNBits' zero point where none is given
INT8_PRODUCTS = 4  # its accuracy_level


class EightBitWriter(GraphWriter):
    """As its parent, with the weights of linear layers and of the logits in eight bits."""

    def linear(self, value: str, name: str, weight: Array, bias: Array | None) -> str:
        if weight.shape[1] % BLOCK:
            return super().linear(value, name, weight, bias)
        product = self._product(value, name, weight)
        return product if bias is None else self.op("Add", [product, self.constant(f"{name}.b", bias)])

    def tied(self, value: str, table: str, weight: Array, output: str) -> None:
        if weight.shape[1] % BLOCK:
            super().tied(value, table, weight, output)
        else:
            self._product(value, table, weight, output)

    def _product(self, value: str, name: str, weight: Array, *outputs: str) -> str:
        """value @ weight.T, with the weight in eight bits."""
        quantised, scales = eight_bits(weight)
        return self.op(
            "MatMulNBits",
            [value, self.constant(f"{name}.q", quantised), self.constant(f"{name}.s", scales)],
            outputs,
            domain=MICROSOFT, K=weight.shape[1], N=weight.shape[0], bits=BITS, block_size=BLOCK,
            accuracy_level=INT8_PRODUCTS,
        )  # fmt: skip


def eight_bits(weight: Array) -> tuple[Array, Array]:
    """weight float32 [out, in] → uint8 [out, blocks, BLOCK], scales float32 [out * blocks]."""
    blocks = weight.reshape(len(weight), -1, BLOCK)
    scales = np.abs(blocks).max(2, keepdims=True) / (ZERO - 1)
    safe = np.where(scales == 0, 1, scales)
    quantised = blocks / safe
    np.rint(quantised, out=quantised)  # in place: a large model's embedding has 250 MB
    quantised += ZERO
    np.clip(quantised, 0, 2**BITS - 1, out=quantised)
    return quantised.astype(np.uint8), scales.astype(np.float32).reshape(-1)
