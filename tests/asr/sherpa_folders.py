"""Folders for sherpa-onnx with models of a few kB, whose text is a function of how long the sound is.

Each writes one token of `WORDS` for every `EVERY` of its output frames, whatever is said, and begins anew
behind the last word. So the text of any length is known: `said`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.asr.onnx_toys import INT64, Nodes, write_tokens

WORDS = ("▁ek", "▁do", "▁tin", "▁char")
EVERY = 5  # output frames per word
SUBSAMPLING = 4  # frames of 10 ms per output frame
CTC = {
    "model_type": "EncDecCTCModelBPE",
    "subsampling_factor": str(SUBSAMPLING),
    "normalize_type": "per_feature",
}
DECODER = {"context_size": "2"}
LSTM = {
    "model_type": "lstm", "num_encoder_layers": "1", "rnn_hidden_size": "1", "d_model": "1",
    "T": "36", "decode_chunk_len": "32",
}  # fmt: skip
OFFLINE = {"model_type": "zipformer2"}
FEATURES = 80


def said(num_frames: int, words: Sequence[str] = WORDS) -> str:
    """The text of a window of n output frames."""
    return " ".join(words[n % len(words)].strip("▁") for n in range((num_frames + EVERY - 1) // EVERY))


def write_ctc(
    folder: Path,
    *,
    words: Sequence[str] = WORDS,
    metadata: Mapping[str, str] = CTC,
    name: str = "model.onnx",
    blank: str = "<blk>",
) -> Path:
    """A CTC model as NeMo exports it: features [batch, 80, frames] and lengths → log-probabilities."""
    tokens = (*words, blank)
    write_tokens(folder, tokens)
    graph = Nodes()
    _add_pattern(graph, "audio_signal", tokens, words, frames_axis=2)
    inputs = {"audio_signal": ["batch", FEATURES, "frames"], "length": (INT64, ["batch"])}
    outputs = {"logprobs": ["batch", "outputs", len(tokens)]}
    graph.save(folder / name, inputs, outputs, **{"vocab_size": str(len(words)), **metadata})
    return folder


def write_transducer(
    folder: Path,
    *,
    words: Sequence[str] = WORDS,
    encoder: Mapping[str, str] = LSTM,
    decoder: Mapping[str, str] = DECODER,
    deadly_outputs: int | None = None,
) -> Path:
    """A transducer as icefall exports it: streaming where the encoder's metadata is `LSTM`, else not.

    deadly_outputs: behind that many output frames a streaming one ends the library's process.
    """
    tokens = ("<blk>", *words)
    write_tokens(folder, tokens)
    if "decode_chunk_len" in encoder:
        _write_streaming_encoder(folder, tokens, words, encoder, deadly_outputs)
    else:
        _write_offline_encoder(folder, tokens, words, encoder)
    size = len(tokens)
    graph = Nodes()  # zeros, whatever was said before
    shape = graph.add("Concat", graph.add("Shape", "y", start=0, end=1), graph.constant([size]), axis=0)
    graph.add("ConstantOfShape", shape, name="decoder_out")
    outputs = {"decoder_out": ["n", size]}
    graph.save(folder / "decoder.onnx", {"y": (INT64, ["n", 2])}, outputs, vocab_size=str(size), **decoder)
    graph = Nodes()
    graph.add("Add", "encoder_out", "decoder_out", name="logit")
    inputs = {name: ["n", size] for name in ("encoder_out", "decoder_out")}
    graph.save(folder / "joiner.onnx", inputs, {"logit": ["n", size]}, joiner_dim=str(size))
    return folder


def _write_offline_encoder(
    folder: Path, tokens: Sequence[str], words: Sequence[str], metadata: Mapping[str, str]
) -> None:
    graph = Nodes()
    _add_pattern(graph, "x", tokens, words, frames_axis=1)
    graph.add("Div", "x_lens", SUBSAMPLING, name="out_lens")
    inputs = {"x": ["batch", "frames", FEATURES], "x_lens": (INT64, ["batch"])}
    outputs = {"logprobs": ["batch", "outputs", len(tokens)], "out_lens": (INT64, ["batch"])}
    graph.save(folder / "encoder.onnx", inputs, outputs, **metadata)


def _write_streaming_encoder(
    folder: Path,
    tokens: Sequence[str],
    words: Sequence[str],
    metadata: Mapping[str, str],
    deadly_outputs: int | None,
) -> None:
    """Its state `h` is how many output frames were heard before."""
    graph = Nodes()
    # a chunk is `decode_chunk_len` long, whatever the encoder sees of the next one
    count = int(LSTM["decode_chunk_len"]) // SUBSAMPLING
    heard = graph.add("Reshape", graph.add("Cast", "h", to=INT64), graph.constant([-1, 1]))
    place = graph.add("Add", heard, graph.constant(np.arange(count)))
    rows = graph.constant(_pattern(tokens, words))
    index = graph.add("Mod", place, EVERY * len(words))
    if deadly_outputs is None:
        graph.add("Gather", rows, index, name="logprobs", axis=0)
    else:  # more rows than streams: the library says "Size mismatch!" and calls _Exit
        said = graph.add("Gather", rows, index, axis=0)
        is_over = graph.add("GreaterOrEqual", graph.add("ReduceMax", heard, keepdims=1), deadly_outputs)
        times = graph.add("Reshape", graph.add("Cast", is_over, to=INT64), graph.constant([1]))
        times = graph.add("Concat", graph.add("Add", times, 1), graph.constant([1, 1]), axis=0)
        graph.add("Tile", said, times, name="logprobs")
    graph.add("Add", "h", graph.constant(np.float32(count)), name="new_h")
    graph.add("Identity", "c", name="new_c")
    state = [1, "batch", 1]
    inputs = {"x": ["batch", "frames", FEATURES], "h": state, "c": state}
    outputs = {"logprobs": ["batch", "outputs", len(tokens)], "new_h": state, "new_c": state}
    graph.save(folder / "encoder.onnx", inputs, outputs, **metadata)


def _add_pattern(
    graph: Nodes, first: str, tokens: Sequence[str], words: Sequence[str], *, frames_axis: int
) -> None:
    """logprobs [batch, frames // SUBSAMPLING, tokens] of an input with the batch first."""
    outputs = graph.add("Div", graph.size(first, frames_axis), SUBSAMPLING)
    row = graph.add("Range", 0, outputs, 1)
    sizes = [graph.add("Unsqueeze", each, graph.constant([0])) for each in (graph.size(first, 0), outputs)]
    place = graph.add("Expand", row, graph.add("Concat", *sizes, axis=0))
    index = graph.add("Mod", place, EVERY * len(words))
    graph.add("Gather", graph.constant(_pattern(tokens, words)), index, name="logprobs", axis=0)


def _pattern(tokens: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """Log-probabilities [EVERY * words, tokens]: a word, then blanks."""
    rows = np.full((EVERY * len(words), len(tokens)), -20.0, np.float32)
    blank = next(n for n, token in enumerate(tokens) if token not in words)
    rows[:, blank] = 0.0
    for number, word in enumerate(words):
        rows[EVERY * number, blank] = -20.0
        rows[EVERY * number, tokens.index(word)] = 0.0
    return rows
