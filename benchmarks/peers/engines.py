"""One class per engine, all with `run(windows, num_tokens)`; each imports what it needs when it is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 30
Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds by stage, all windows together, and the tokens of each window."""

    total: float
    features: float
    encode: float
    decode: float
    tokens: list[list[int]]


class Peer(Protocol):
    def run(self, windows: Sequence[Pcm], num_tokens: int) -> Run: ...


class Ours:
    """Our Engine: windows in one call, as a session's batch."""

    def __init__(self, checkpoint: Path, threads: int, **config: Any) -> None:
        from asr.config import EngineConfig
        from asr.engines.loading import load_engine

        settings = {"device": "cpu", "threads": threads, "loop_guard": False, "max_batch_size": 16} | config
        self.engine = load_engine(EngineConfig(model=str(checkpoint), **settings))

    def run(self, windows: Sequence[Pcm], num_tokens: int) -> Run:
        from asr.constants import WINDOW_FRAMES
        from asr.schema import DecodingOptions, Hypothesis, Window

        options = DecodingOptions(language="en", max_tokens=num_tokens, without_timestamps=True)
        begun = time.perf_counter()
        outcomes = self.engine.decode([Window(pcm, WINDOW_FRAMES, options) for pcm in windows])
        total = time.perf_counter() - begun
        good = [outcome for outcome in outcomes if isinstance(outcome, Hypothesis)]
        if len(good) != len(outcomes):
            raise RuntimeError(f"the engine failed: {outcomes}")
        return Run(
            total,
            sum(outcome.seconds.features for outcome in good),
            sum(outcome.seconds.encode for outcome in good),
            sum(outcome.seconds.decode for outcome in good),
            [list(outcome.tokens) for outcome in good],
        )


class OpenAiWhisper:
    """openai-whisper as transcribe() runs it on a CPU: float32, one window after the other."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import torch
        import whisper

        torch.set_num_threads(threads)
        self._model = whisper.load_model(str(checkpoint), device="cpu")

    def run(self, windows: Sequence[Pcm], num_tokens: int) -> Run:
        import torch
        import whisper

        options = whisper.DecodingOptions(
            language="en", without_timestamps=True, sample_len=num_tokens, fp16=False
        )
        laps = np.zeros(3)
        tokens = []
        begun = time.perf_counter()
        with torch.inference_mode():
            for pcm in windows:
                times = [time.perf_counter()]
                mel = whisper.log_mel_spectrogram(pcm.astype(np.float32) / 32_768)
                mel = whisper.pad_or_trim(mel, 3000)
                times.append(time.perf_counter())
                features = self._model.encoder(mel[None])
                times.append(time.perf_counter())
                [result] = self._model.decode(features, options)
                times.append(time.perf_counter())
                laps += np.diff(times)
                tokens.append(list(result.tokens))
        return Run(time.perf_counter() - begun, *laps.tolist(), tokens)


class CTranslate2:
    """CTranslate2 called as faster-whisper calls it, greedy: encode, then generate.

    `together`: the windows in one batch, as its BatchedInferencePipeline; else one after the other. Features
    come from our torch code, which is faster than faster-whisper's numpy.
    """

    def __init__(self, checkpoint: Path, threads: int, compute_type: str, *, together: bool) -> None:
        import ctranslate2
        import torch

        from asr.engines.checkpoints.checkpoint import load_checkpoint
        from asr.engines.ctranslate2.conversion import converted_folder
        from asr.engines.features import LogMel
        from asr.text.tokenizer import tokenizer_for

        torch.set_num_threads(threads)
        loaded = load_checkpoint(str(checkpoint))
        tokenizer = tokenizer_for(loaded.dims.multilingual, loaded.dims.num_languages)
        folder = converted_folder(loaded, (checkpoint,))
        self._package = ctranslate2
        self._model = ctranslate2.models.Whisper(
            str(folder), device="cpu", compute_type=compute_type, intra_threads=threads, inter_threads=1
        )
        self._log_mel = LogMel(loaded.dims.n_mels, torch.device("cpu"))
        self._prompt = [*tokenizer.sot_sequence("en", "transcribe"), tokenizer.no_timestamps]
        self._suppressed = list(tokenizer.suppressed_tokens((-1,)))
        self._together = together

    def run(self, windows: Sequence[Pcm], num_tokens: int) -> Run:
        parts = [list(windows)] if self._together else [[pcm] for pcm in windows]
        laps = np.zeros(3)
        tokens: list[list[int]] = []
        begun = time.perf_counter()
        for part in parts:
            spent, found = self._part(part, num_tokens)
            laps += spent
            tokens += found
        return Run(time.perf_counter() - begun, *laps.tolist(), tokens)

    def _part(self, windows: Sequence[Pcm], num_tokens: int) -> tuple[NDArray[np.float64], list[list[int]]]:
        from asr.constants import WINDOW_FRAMES
        from asr.schema import DecodingOptions, Window

        times = [time.perf_counter()]
        # one by one, as our engine on a few cores: faster than all in one STFT
        each = [self._log_mel([Window(pcm, WINDOW_FRAMES, DecodingOptions())]).numpy() for pcm in windows]
        log_mel = np.concatenate(each)
        times.append(time.perf_counter())
        encoded = self._model.encode(self._package.StorageView.from_array(log_mel))
        times.append(time.perf_counter())
        results = self._model.generate(
            encoded,
            [self._prompt] * len(windows),
            beam_size=1,
            max_length=2 * num_tokens,  # of which it takes half
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
        )
        times.append(time.perf_counter())
        return np.diff(times), [list(result.sequences_ids[0]) for result in results]


class WhisperCpp:
    """whisper.cpp through pywhispercpp, weights in float16 as its own files are, one window after the other.

    Its encoder and decoder are called token by token, without its sampler: the binding copies no logits, so
    the same token is fed every time. That favours it a little; the tokens are not compared.
    """

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import _pywhispercpp as binding

        from benchmarks.peers.ggml import write_ggml

        self._binding, self._threads = binding, threads
        path = checkpoint.with_suffix(".ggml")
        if not path.exists():
            write_ggml(checkpoint, path)
        self._context = binding.whisper_init_from_file_with_params(
            str(path), binding.whisper_context_default_params()
        )

    def run(self, windows: Sequence[Pcm], num_tokens: int) -> Run:
        call, context = self._binding, self._context
        prompt = [50_258, 50_259, 50_359, 50_363]  # sot, en, transcribe, no_timestamps
        laps = np.zeros(3)
        begun = time.perf_counter()
        for pcm in windows:
            times = [time.perf_counter()]
            samples = pcm.astype(np.float32) / 32_768
            _must(call.whisper_pcm_to_mel(context, samples, len(samples), self._threads))
            times.append(time.perf_counter())
            _must(call.whisper_encode(context, 0, self._threads))
            times.append(time.perf_counter())
            for past, token in enumerate([*prompt, *[1_000] * (num_tokens - 1)]):
                _must(call.whisper_decode(context, token, 1, past, self._threads))
            times.append(time.perf_counter())
            laps += np.diff(times)
        return Run(time.perf_counter() - begun, *laps.tolist(), [])


def _must(status: int) -> None:
    if status != 0:
        raise RuntimeError(f"whisper.cpp answered {status}")


@dataclass(frozen=True, slots=True)
class Kind:
    """How an engine is made, and whether it decodes windows side by side."""

    title: str
    make: Callable[[Path, int], Peer]
    batched: bool = True
    exact: bool = False  # float32: its tokens are compared


KINDS: dict[str, Kind] = {
    "ours-float32": Kind(
        "ours, float32", lambda p, n: Ours(p, n, backend="torch", precision="float32"), exact=True
    ),
    "ours-bfloat16": Kind("ours, bfloat16", lambda p, n: Ours(p, n, backend="torch", precision="bfloat16")),
    "ours-ort-float32": Kind(
        "ours on ONNX Runtime, float32", lambda p, n: Ours(p, n, backend="onnxruntime"), exact=True
    ),
    "ours-ort-weights8": Kind(
        "ours on ONNX Runtime, weights in 8 bits",
        lambda p, n: Ours(p, n, backend="onnxruntime", compute_type="weights_int8"),
    ),
    "ours-ct2-int8": Kind(
        "ours on ctranslate2, int8", lambda p, n: Ours(p, n, backend="ctranslate2", compute_type="int8")
    ),
    "openai-whisper": Kind("openai-whisper, float32, one at a time", OpenAiWhisper, False, True),
    "ct2-float32": Kind(
        "CTranslate2, float32", lambda p, n: CTranslate2(p, n, "float32", together=True), exact=True
    ),
    "ct2-int8": Kind("CTranslate2, int8", lambda p, n: CTranslate2(p, n, "int8", together=True)),
    "ct2-int8-single": Kind(
        "CTranslate2, int8, one at a time", lambda p, n: CTranslate2(p, n, "int8", together=False), False
    ),
    "whisper.cpp": Kind("whisper.cpp, float16, one at a time, no sampling", WhisperCpp, False),
}
