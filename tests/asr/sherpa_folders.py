"""Folders for sherpa-onnx with models of a few kB, whose text is a function of how long the sound is.

Each writes one token of `WORDS` for every `EVERY` of its output frames, whatever is said, and begins anew
behind the last word. So the text of any length is known: `said`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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
    folder.mkdir(parents=True, exist_ok=True)
    tokens = (*words, blank)
    _write_tokens(folder, tokens)
    graph = _Graph(_pattern(tokens, words))
    graph.positions(batch=0, frames=2)
    _save(
        folder / name,
        graph.made(
            [_input("audio_signal", TensorProto.FLOAT, ["batch", FEATURES, "frames"]), _lengths("length")],
            [_output("logprobs", ["batch", "outputs", len(tokens)])],
        ),
        {"vocab_size": str(len(words)), **metadata},
    )
    return folder


def write_transducer(
    folder: Path,
    *,
    words: Sequence[str] = WORDS,
    encoder: Mapping[str, str] = LSTM,
    decoder: Mapping[str, str] = DECODER,
) -> Path:
    """A transducer as icefall exports it: streaming where the encoder's metadata is `LSTM`, else not."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ("<blk>", *words)
    _write_tokens(folder, tokens)
    graph = _Graph(_pattern(tokens, words))
    is_streaming = "decode_chunk_len" in encoder
    shape = ["batch", "outputs", len(tokens)]
    sides = [_input("x", TensorProto.FLOAT, ["batch", "frames", FEATURES])]
    if is_streaming:
        graph.positions(batch=0, frames=1, begun="h")
        states = [("h", "new_h"), ("c", "new_c")]
        sides += [_input(name, TensorProto.FLOAT, [1, "batch", 1]) for name, _ in states]
        outputs = [_output("logprobs", shape), *(_output(name, [1, "batch", 1]) for _, name in states)]
    else:
        graph.positions(batch=0, frames=1)
        graph.add("Div", ["x_lens", graph.constant(np.array([SUBSAMPLING]))], "out_lens")
        sides.append(_lengths("x_lens"))
        outputs = [_output("logprobs", shape), _output("out_lens", ["batch"], TensorProto.INT64)]
    _save(folder / "encoder.onnx", graph.made(sides, outputs), encoder)
    _save(folder / "decoder.onnx", _decoder(len(tokens)), {"vocab_size": str(len(tokens)), **decoder})
    joined = helper.make_graph(
        [helper.make_node("Add", ["encoder_out", "decoder_out"], ["logit"])],
        "joiner",
        [_input(name, TensorProto.FLOAT, ["n", len(tokens)]) for name in ("encoder_out", "decoder_out")],
        [_output("logit", ["n", len(tokens)])],
    )
    _save(folder / "joiner.onnx", joined, {"joiner_dim": str(len(tokens))})
    return folder


class _Graph:
    """A graph that looks up a row of `pattern` for each output frame."""

    def __init__(self, pattern: np.ndarray) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._pattern = pattern

    def constant(self, value: np.ndarray) -> str:
        self._constants.append(numpy_helper.from_array(value, f"c{len(self._constants)}"))
        return self._constants[-1].name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: int) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def positions(self, *, batch: int, frames: int, begun: str = "") -> None:
        """logprobs [batch, frames // SUBSAMPLING, tokens], from the position that a state `begun` has."""
        first = "audio_signal" if frames == 2 else "x"
        self.add("Shape", [first], "shape")
        zero, one = self.constant(np.array(0)), self.constant(np.array(1))
        count = self.add("Gather", ["shape", self.constant(np.array(frames))], "num_frames")
        if begun:  # a chunk is `decode_chunk_len` long, whatever the encoder sees of the next one
            count = self.constant(np.array(int(LSTM["decode_chunk_len"])))
        outputs = self.add("Div", [count, self.constant(np.array(SUBSAMPLING))], "num_outputs")
        row = self.add("Range", [zero, outputs, one], "row")
        size = self.add("Gather", ["shape", self.constant(np.array([batch]))], "batch_size")
        if begun:
            heard = self.add("Cast", [begun], "heard", to=TensorProto.INT64)
            heard = self.add("Reshape", [heard, self.constant(np.array([-1, 1]))], "heard_rows")
            place = self.add("Add", [heard, row], "place")
            step = self.add("Cast", [outputs], "step", to=TensorProto.FLOAT)
            self.add("Add", [begun, step], "new_h")
            self.add("Identity", ["c"], "new_c")
        else:
            tail = self.add("Unsqueeze", [outputs, self.constant(np.array([0]))], "tail")
            shape = self.add("Concat", [size, tail], "shape_of_places", axis=0)
            place = self.add("Expand", [row, shape], "place")
        index = self.add("Mod", [place, self.constant(np.array(len(self._pattern)))], "index")
        self.add("Gather", [self.constant(self._pattern), index], "logprobs", axis=0)

    def made(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.GraphProto:
        return helper.make_graph(self._nodes, "toy", inputs, outputs, self._constants)


def _pattern(tokens: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """Log-probabilities [EVERY * words, tokens]: a word, then blanks."""
    rows = np.full((EVERY * len(words), len(tokens)), -20.0, np.float32)
    blank = next(n for n, token in enumerate(tokens) if token not in words)
    rows[:, blank] = 0.0
    for number, word in enumerate(words):
        rows[EVERY * number, blank] = -20.0
        rows[EVERY * number, tokens.index(word)] = 0.0
    return rows


def _decoder(size: int) -> onnx.GraphProto:
    """Zeros [n, tokens], whatever was said before."""
    zeros = numpy_helper.from_array(np.zeros((1, size), np.float32), "zeros")
    nodes = [
        helper.make_node("Shape", ["y"], ["shape"], start=0, end=1),
        helper.make_node("Concat", ["shape", "one"], ["wanted"], axis=0),
        helper.make_node("Expand", ["zeros", "wanted"], ["decoder_out"]),
    ]
    one = numpy_helper.from_array(np.array([1]), "one")
    side = [_input("y", TensorProto.INT64, ["n", 2])]
    return helper.make_graph(nodes, "decoder", side, [_output("decoder_out", ["n", size])], [zeros, one])


def _write_tokens(folder: Path, tokens: Sequence[str]) -> None:
    lines = "".join(f"{token} {number}\n" for number, token in enumerate(tokens))
    (folder / "tokens.txt").write_text(lines, encoding="utf-8")


def _input(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _lengths(name: str) -> onnx.ValueInfoProto:
    return _input(name, TensorProto.INT64, ["batch"])


def _output(name: str, shape: list[str | int], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _save(file: Path, graph: onnx.GraphProto, metadata: Mapping[str, str]) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    onnx.save(model, file)
