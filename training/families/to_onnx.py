"""Writes a checkpoint as the ONNX folder that sherpa-onnx reads."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from training.families import fbank, pieces
from training.families.conformer import SUBSAMPLING
from training.families.ctc import CtcNetwork
from training.families.transducer import CONTEXT, TransducerNetwork

OPSET = 17
SMALL = 1024  # values; tensors of fewer stay float32
# keys of the metadata that the model card needs
MINUTES, HOURS = "trained_processor_minutes", "trained_on_hours"
NOTHING: Mapping[str, str] = {}


class CtcGraph(nn.Module):
    """What NeMo exports: features with the bins first."""

    def __init__(self, network: CtcNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio_signal: Tensor, length: Tensor) -> Tensor:
        return self.network.log_probs(audio_signal.transpose(1, 2), length)


class EncoderGraph(nn.Module):
    """What icefall exports of a streaming conformer: one chunk with its states."""

    def __init__(self, network: TransducerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, x: Tensor, attention: Tensor, convolution: Tensor, processed: Tensor
    ) -> tuple[Tensor, ...]:
        return self.network.step(x, attention, convolution, processed)


class PredictorGraph(nn.Module):
    """The predictor's output for one context of pieces."""

    def __init__(self, network: TransducerNetwork) -> None:
        super().__init__()
        self.predictor = network.predictor

    def forward(self, y: Tensor) -> Tensor:
        return self.predictor(y)[:, -1]


class JoinerGraph(nn.Module):
    """Logits of one frame."""

    def __init__(self, network: TransducerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, encoder_out: Tensor, decoder_out: Tensor) -> Tensor:
        return self.network.join(encoder_out, decoder_out)


def write(
    graph: nn.Module,
    path: Path,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    metadata: Mapping[str, object],
) -> None:
    """One file with its metadata; the weights are float16 on disk and float32 in use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without onnxscript is an old one
        torch.onnx.export(
            graph.eval(), tuple(inputs.values()), path, input_names=list(inputs), output_names=list(outputs),
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    model = onnx.load(path)
    halve(model)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.save(model, path)


def halve(model: onnx.ModelProto) -> None:
    """Stores each large weight as float16 with a cast behind it, which the runtime folds when it loads."""
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < SMALL:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)


def write_ctc(network: CtcNetwork, folder: Path, trained: Mapping[str, str] = NOTHING) -> None:
    """model.onnx and tokens.txt, as NeMo's EncDecCTCModelBPE."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"audio_signal": torch.zeros(2, fbank.NUM_BINS, 160), "length": torch.tensor([160, 120])}
    axes = {
        "audio_signal": {0: "batch", 2: "features"}, "length": {0: "batch"},
        "logprobs": {0: "batch", 1: "frames"},
    }  # fmt: skip
    metadata = {
        "model_type": "EncDecCTCModelBPE", "vocab_size": len(pieces.pieces()),
        "normalize_type": "per_feature", "subsampling_factor": SUBSAMPLING, "version": "1",
        "model_author": "demo", "comment": "conformer CTC of the demo's English and Hindi words", **trained,
    }  # fmt: skip
    write(CtcGraph(network), folder / "model.onnx", inputs, ["logprobs"], axes, metadata)
    (folder / "tokens.txt").write_text(pieces.tokens_file(blank_first=False), "utf-8")


def write_transducer(network: TransducerNetwork, folder: Path, trained: Mapping[str, str] = NOTHING) -> None:
    """encoder.onnx, decoder.onnx, joiner.onnx and tokens.txt, as icefall's streaming conformer."""
    folder.mkdir(parents=True, exist_ok=True)
    shape, batch = network.encoder.shape, {0: "batch"}
    size = SUBSAMPLING * shape.chunk + 3
    states = {
        "attention": torch.zeros(shape.layers, shape.left, 2, shape.dim),
        "convolution": torch.zeros(shape.layers, shape.kernel - 1, 2, shape.dim),
    }
    inputs = {"x": torch.zeros(2, size, fbank.NUM_BINS), **states, "processed": torch.tensor([0, 64])}
    outputs = ["encoder_out", "next_attention", "next_convolution"]
    axes = {name: {2: "batch"} for name in (*states, *outputs[1:])} | dict.fromkeys(
        ("x", "processed", "encoder_out"), batch
    )
    metadata = {
        "model_type": "conformer", "version": "1", "model_author": "demo", "comment": "streaming conformer",
        "T": size, "decode_chunk_len": SUBSAMPLING * shape.chunk, "pad_length": 3,
        "num_encoder_layers": shape.layers, "encoder_dim": shape.dim, "left_context": shape.left,
        "cnn_module_kernel": shape.kernel, **trained,
    }  # fmt: skip
    write(EncoderGraph(network), folder / "encoder.onnx", inputs, outputs, axes, metadata)
    context = {"y": torch.zeros(2, CONTEXT, dtype=torch.int64)}
    sizes = {"context_size": CONTEXT, "vocab_size": network.num_ids}
    axes = {"y": batch, "decoder_out": batch}
    write(PredictorGraph(network), folder / "decoder.onnx", context, ["decoder_out"], axes, sizes)
    frames = {"encoder_out": torch.zeros(2, shape.dim), "decoder_out": torch.zeros(2, shape.dim)}
    axes = dict.fromkeys((*frames, "logit"), batch)
    write(JoinerGraph(network), folder / "joiner.onnx", frames, ["logit"], axes, {"joiner_dim": shape.dim})
    (folder / "tokens.txt").write_text(pieces.tokens_file(blank_first=True), "utf-8")


def network(family: str, checkpoint: Path | None, seed: int = 1) -> CtcNetwork | TransducerNetwork:
    """The network of a checkpoint, or one with random weights."""
    torch.manual_seed(seed)
    made = CtcNetwork() if family == "ctc" else TransducerNetwork()
    if checkpoint is not None:
        made.load_state_dict(torch.load(checkpoint, weights_only=True)["network"])
    return made


def training_of(checkpoint: Path | None) -> dict[str, str]:
    """How long a run has trained, as metadata; it does not count the run with whose weights it began."""
    if checkpoint is None:
        return {}
    state = torch.load(checkpoint, weights_only=True)
    return {MINUTES: f"{state['spent_s'] / 60:.0f}", HOURS: f"{state['audio_s'] / 3600:.1f}"}


def export(made: CtcNetwork | TransducerNetwork, folder: Path, trained: Mapping[str, str] = NOTHING) -> None:
    """Writes the folder of either family."""
    if isinstance(made, CtcNetwork):
        write_ctc(made, folder, trained)
    else:
        write_transducer(made, folder, trained)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=("ctc", "transducer"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="without it the weights are random")
    given = parser.parse_args()
    export(network(given.family, given.checkpoint), given.folder, training_of(given.checkpoint))
    for file in sorted(given.folder.iterdir()):
        print(f"{file} {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
