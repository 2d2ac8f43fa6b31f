"""Exported networks in unmodified sherpa-onnx: its features are ours, and it writes what torch decodes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.augment import no_speech
from training.families import fbank, pieces, to_onnx
from training.families.conformer import SUBSAMPLING, Shape
from training.families.ctc import CtcNetwork
from training.families.transducer import TransducerNetwork
from training.speech import SAMPLE_RATE

sherpa_onnx = pytest.importorskip("sherpa_onnx")
from training.families import evaluation  # noqa: E402

BIN = 20  # the mel bin that the toy network spells
LEVELS = torch.linspace(-4, 4, 801)


def audio(seed: int, seconds: float) -> np.ndarray:
    """Noise under a swell, float32 at 16 kHz."""
    count = round(seconds * SAMPLE_RATE)
    noise = np.random.default_rng(seed).standard_normal(count) * 0.1
    return (noise * np.sin(np.arange(count) / 3000)).astype(np.float32)


class Speller(nn.Module):
    """Names the level of one bin at every feature; odd features have ids of their own, so none are joined."""

    def forward(self, audio_signal: Tensor, length: Tensor) -> Tensor:
        values = audio_signal[:, BIN]
        near = -(values[..., None] - LEVELS).abs()
        odd = (torch.arange(values.shape[1]) % 2)[:, None] * 100.0
        never = torch.zeros_like(near[..., :1]) - 1000.0 + 0.0 * length[:, None, None]
        return torch.cat([near - odd, near + odd - 100.0, never], dim=-1)


def test_nemo_features_are_those_that_sherpa_feeds(tmp_path: Path) -> None:
    inputs = {"audio_signal": torch.zeros(2, 80, 16), "length": torch.tensor([16, 12])}
    axes = {"audio_signal": {0: "n", 2: "t"}, "length": {0: "n"}, "logprobs": {0: "n", 1: "t"}}
    metadata = {
        "model_type": "EncDecCTCModelBPE", "vocab_size": 2 * len(LEVELS),
        "normalize_type": "per_feature", "subsampling_factor": 1,
    }  # fmt: skip
    to_onnx.write(Speller(), tmp_path / "model.onnx", inputs, ["logprobs"], axes, metadata)
    names = [f"t{row}" for row in range(2 * len(LEVELS))] + ["<blk>"]
    (tmp_path / "tokens.txt").write_text("".join(f"{name} {row}\n" for row, name in enumerate(names)))
    recognizer = evaluation.offline(tmp_path, threads=1)
    samples = audio(0, 1.003)
    samples[4000:9000] = 0
    stream = recognizer.create_stream()
    stream.accept_waveform(SAMPLE_RATE, samples)
    recognizer.decode_stream(stream)
    heard = LEVELS[[int(token[1:]) % len(LEVELS) for token in stream.result.tokens]]
    ours = fbank.per_feature(fbank.log_mel(torch.from_numpy(samples), fbank.NEMO))[:, BIN]
    assert (heard - ours.clamp(-4, 4)).abs().max() < 0.0051  # half a level


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> tuple[CtcNetwork, Path]:
    torch.manual_seed(0)
    network = CtcNetwork(Shape(dim=32, heads=2, layers=2, hidden=48, kernel=3)).eval()
    nn.init.normal_(network.head.weight)
    folder = tmp_path_factory.mktemp("ctc")
    to_onnx.write_ctc(network, folder)
    return network, folder


def test_a_ctc_writes_what_torch_decodes_alone_and_in_a_batch(ctc: tuple[CtcNetwork, Path]) -> None:
    network, folder = ctc
    recognizer = evaluation.offline(folder, threads=1)
    clips = [audio(seed, seconds) for seed, seconds in enumerate((1.0, 1.61, 0.73))]
    alone = [recognizer.create_stream() for _ in clips]
    batch = [recognizer.create_stream() for _ in clips]
    for one, other, samples in zip(alone, batch, clips, strict=True):
        one.accept_waveform(SAMPLE_RATE, samples)
        recognizer.decode_stream(one)
        other.accept_waveform(SAMPLE_RATE, samples)
    recognizer.decode_streams(batch)
    texts = [greedy_ctc(network, samples) for samples in clips]
    assert min(map(len, texts)) > 10
    assert [stream.result.text for stream in alone] == texts
    assert [stream.result.text for stream in batch] == texts


def greedy_ctc(network: CtcNetwork, samples: np.ndarray) -> str:
    """Text of the best id of each frame, repetitions joined."""
    features = fbank.per_feature(fbank.log_mel(torch.from_numpy(samples), fbank.NEMO))
    with torch.no_grad():
        log_probs = network.log_probs(features[None], torch.tensor([len(features)]))[0]
    best = log_probs[: len(features) // SUBSAMPLING].argmax(dim=-1)
    kept = torch.unique_consecutive(best)
    return text(pieces.pieces()[piece] for piece in kept.tolist() if piece < len(pieces.pieces()))


def text(parts: object) -> str:
    return "".join(parts).replace(pieces.WORD_START, " ").removeprefix(" ")  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def transducer(tmp_path_factory: pytest.TempPathFactory) -> tuple[TransducerNetwork, Path]:
    torch.manual_seed(1)
    shape = Shape(dim=32, heads=2, layers=2, hidden=48, kernel=3, chunk=4, left=6)
    network = TransducerNetwork(shape).eval()
    nn.init.normal_(network.joiner.weight)
    with torch.no_grad():
        network.joiner.bias[0] += 4.0  # some blanks
    folder = tmp_path_factory.mktemp("transducer")
    to_onnx.write_transducer(network, folder)
    return network, folder


def test_stream_features_are_those_that_sherpa_computes(transducer: tuple[TransducerNetwork, Path]) -> None:
    stream = evaluation.online(transducer[1], threads=1).create_stream()
    samples = audio(3, 1.0)
    for start in range(0, len(samples), 1234):
        stream.accept_waveform(SAMPLE_RATE, samples[start : start + 1234])
    stream.input_finished()
    theirs = np.reshape(stream.get_frames(0, 100), (100, fbank.NUM_BINS))
    ours = fbank.log_mel(torch.from_numpy(samples), fbank.KALDI).numpy()
    np.testing.assert_allclose(theirs, ours, atol=1e-3)


def test_a_stream_writes_what_torch_decodes(transducer: tuple[TransducerNetwork, Path]) -> None:
    network, folder = transducer
    recognizer = evaluation.online(folder, threads=1)
    stream = recognizer.create_stream()
    samples = audio(4, 3.0)
    num_chunks = 0
    for start in range(0, len(samples), 3200):
        stream.accept_waveform(SAMPLE_RATE, samples[start : start + 3200])
        while recognizer.is_ready(stream):
            recognizer.decode_stream(stream)
            num_chunks += 1
    shape = network.encoder.shape
    features = fbank.log_mel(torch.from_numpy(samples), fbank.KALDI)
    heard = features[: num_chunks * SUBSAMPLING * shape.chunk + 3]
    ids = greedy_transducer(network, heard)
    assert num_chunks > 3
    assert len(set(ids)) > 5
    assert recognizer.get_result(stream) == text(pieces.pieces()[one - 1] for one in ids)


def greedy_transducer(network: TransducerNetwork, features: Tensor) -> list[int]:
    """Ids of at most one piece per frame, as sherpa-onnx searches."""
    context = [-1, 0]
    with torch.no_grad():
        for frame in network.project(network.encode(features[None]))[0]:
            predicted = network.predictor(torch.tensor([context[-2:]]))[0, -1]
            best = int(network.join(frame, predicted).argmax())
            context += [best] if best else []
    return context[2:]


def test_silence_of_any_kind_is_decoded_without_an_error(ctc: tuple[CtcNetwork, Path]) -> None:
    recognizer = evaluation.offline(ctc[1], threads=1)
    rng = random.Random(0)
    for seconds in (0.05, 0.3, 2.0):
        stream = recognizer.create_stream()
        stream.accept_waveform(SAMPLE_RATE, no_speech(rng, round(seconds * SAMPLE_RATE)))
        recognizer.decode_stream(stream)
        assert isinstance(stream.result.text, str)
