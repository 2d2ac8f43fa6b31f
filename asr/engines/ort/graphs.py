"""A Whisper checkpoint → the graphs of its encoder and decoder, operator by operator (whisper/model.py).

No exporter: its graphs run slower, for none of their attention is fused, and store the embedding twice. Names
of inputs and outputs: `ck0`, `cv0` are layer 0's keys and values of the audio; `pk0`, `pv0` the text's, and
`nk0`, `nv0` the same with the new tokens, in the same memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.ort.graph_writer import MICROSOFT, GraphWriter
from asr.engines.ort.weight_bits import EightBitWriter

TOKENS = "decoder.token_embedding.weight"  # looked up for each token, and multiplied for the logits


def write_encoder(checkpoint: Checkpoint, path: Path) -> None:
    """mel [B, n_mels, frames] → features [B, T, state]; frames are free, up to the model's positions."""
    dims, graph = checkpoint.dims, GraphWriter(checkpoint.state, path)
    heads = dims.n_audio_head
    x = graph.input("mel", ["B", dims.n_mels, "F"])
    for number, stride in ((1, 1), (2, 2)):
        names = [f"encoder.conv{number}.{part}" for part in ("weight", "bias")]
        kernel = [graph.constant(name, graph.weight(name)) for name in names]
        convolved = graph.op("Conv", [x, *kernel], pads=[1, 1], strides=[stride], kernel_shape=[3])
        x = graph.op("Gelu", [convolved])
    x = graph.op("Transpose", [x], perm=[0, 2, 1])
    table = graph.constant("positions", graph.weight("encoder.positional_embedding"))
    length = graph.op("Shape", [x], start=1, end=2)
    x = graph.op("Add", [x, graph.op("Slice", [table, graph.ints(0), length, graph.ints(0)])])
    for layer in range(dims.n_audio_layer):
        block = f"encoder.blocks.{layer}"
        attended = _attention(graph, graph.norm(x, f"{block}.attn_ln"), f"{block}.attn", heads)
        x = graph.op("Add", [x, graph.layer(attended, f"{block}.attn.out")])
        x = graph.mlp(x, block)
    graph.norm(x, "encoder.ln_post", "features")
    graph.output("features", ["B", "T", dims.n_audio_state])
    graph.save()


def write_crossing(checkpoint: Checkpoint, path: Path) -> None:
    """features [B, T, state] → keys and values of them for the decoder's layers, each [B, heads, size, T]."""
    dims, graph = checkpoint.dims, GraphWriter(checkpoint.state, path)
    heads, size = dims.n_text_head, dims.n_text_state // dims.n_text_head
    x = graph.op("Transpose", [graph.input("features", ["B", "T", dims.n_audio_state])], perm=[0, 2, 1])
    for layer in range(dims.n_text_layer):
        crossing = f"decoder.blocks.{layer}.cross_attn"
        for short, name in (("ck", "key"), ("cv", "value")):
            made = graph.transposed_layer(x, f"{crossing}.{name}")
            graph.op("Reshape", [made, graph.ints(0, heads, size, -1)], [f"{short}{layer}"])
            graph.output(f"{short}{layer}", ["B", heads, size, "T"])
    graph.save()


def _attention(graph: GraphWriter, x: str, prefix: str, heads: int) -> str:
    """x [B, T, state] after attention to itself."""
    parts = [
        graph.linear(x, f"{prefix}.{name}", graph.weight(f"{prefix}.{name}.weight"), None)
        for name in ("query", "key", "value")
    ]
    # added where the operator moves its inputs anyway
    bias = graph.constant(f"{prefix}.qkv.b", graph.qkv_bias(prefix))
    return graph.op("MultiHeadAttention", [*parts, bias], domain=MICROSOFT, num_heads=heads)


def write_decoder(checkpoint: Checkpoint, path: Path, *, eight_bits: bool) -> None:
    """One graph for prompts, single steps and alignment.

    tokens, positions int64 [R, L]; places int64 [R, K, 1], where logits are wanted; lengths int32 [R], the
    number of tokens in the cache with the new ones, less one; total int32, the largest of them plus one →
    logits [R, K, n_vocab], scores [W, alignment heads, L, T] before softmax. A window has R / W rows.
    """
    dims = checkpoint.dims
    graph = (EightBitWriter if eight_bits else GraphWriter)(checkpoint.state, path)
    heads, state = dims.n_text_head, dims.n_text_state
    size = state // heads
    for name in ("tokens", "positions"):
        graph.input(name, ["R", "L"], TensorProto.INT64)
    graph.input("places", ["R", "K", 1], TensorProto.INT64)
    graph.input("lengths", ["R"], TensorProto.INT32)
    graph.input("total", [], TensorProto.INT32)
    embedding = graph.constant("embedding", graph.weight(TOKENS))
    table = graph.constant("positions_table", graph.weight("decoder.positional_embedding"))
    x = graph.op("Add", [graph.op("Gather", [embedding, "tokens"]), graph.op("Gather", [table, "positions"])])
    scores = []
    for layer in range(dims.n_text_layer):
        block = f"decoder.blocks.{layer}"
        x = _self_attention(graph, x, layer, (heads, size))
        x, layer_scores = _cross_attention(graph, x, layer, (heads, size))
        if chosen := [head for at, head in checkpoint.alignment_heads if at == layer]:
            index = graph.constant(f"alignment_heads{layer}", np.array(chosen, np.int64))
            scores.append(graph.op("Gather", [layer_scores, index], axis=1))
        x = graph.mlp(x, block)
    x = graph.norm(graph.op("GatherND", [x, "places"], batch_dims=1), "decoder.ln")
    graph.tied(x, embedding, graph.weight(TOKENS), "logits")
    graph.output("logits", ["R", "K", dims.n_vocab])
    graph.op("Concat", scores, ["scores"], axis=1)
    graph.output("scores", ["W", len(checkpoint.alignment_heads), "L", "T"])
    graph.save()


def _self_attention(graph: GraphWriter, x: str, layer: int, shape: tuple[int, int]) -> str:
    """x [R, L, state] after attention to the tokens so far, which the new ones join in the caches."""
    heads, size = shape
    block = f"decoder.blocks.{layer}"
    qkv = graph.qkv(graph.norm(x, f"{block}.attn_ln"), f"{block}.attn")
    for kind in "kv":
        graph.input(f"p{kind}{layer}", ["R", heads, "P", size])
        graph.output(f"n{kind}{layer}", ["R", heads, "P", size])
    attended = graph.op(
        "GroupQueryAttention",
        [qkv, "", "", f"pk{layer}", f"pv{layer}", "lengths", "total"],
        [f"attended{layer}", f"nk{layer}", f"nv{layer}"],
        domain=MICROSOFT, num_heads=heads, kv_num_heads=heads,
    )  # fmt: skip
    return graph.op("Add", [x, graph.layer(attended, f"{block}.attn.out")])


def _cross_attention(graph: GraphWriter, x: str, layer: int, shape: tuple[int, int]) -> tuple[str, str]:
    """x [R, L, state] after attention to the audio, and its scores [W, heads, queries, T]."""
    heads, size = shape
    state = heads * size
    keys = graph.input(f"ck{layer}", ["W", heads, size, "T"])
    values = graph.input(f"cv{layer}", ["W", heads, size, "T"])
    crossing = f"decoder.blocks.{layer}.cross_attn"
    weight, bias = (graph.weight(f"{crossing}.query.{part}") * size**-0.5 for part in ("weight", "bias"))
    queries = graph.linear(graph.norm(x, f"{crossing}_ln"), f"{crossing}.query", weight, bias)
    # all rows of a window ask the same audio: [R, L, state] → [W, R / W * L, state]
    windows = graph.op("Shape", [keys], end=1)
    by_window = graph.op("Concat", [windows, graph.ints(-1, state)], axis=0)
    queries = graph.heads(graph.op("Reshape", [queries, by_window]), heads, size)
    scores = graph.op("MatMul", [queries, keys])
    weights = graph.op("Softmax", [scores], axis=-1)
    attended = graph.op("FusedMatMul", [weights, values], domain=MICROSOFT, transB=1)
    by_row = graph.op("Reshape", [graph.merged(attended, state), graph.op("Shape", [x])])
    return graph.op("Add", [x, graph.layer(by_row, f"{crossing}.out")]), scores
