"""Systems that run in this process: openai-whisper, faster-whisper and whisper.cpp, float32 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.wer.answers import Answer
from benchmarks.wer.systems import FALLBACK, Setup, need, need_package, one_by_one, sha256
from whisper_client.references import Reference

BATCH = 8


@dataclass(frozen=True, slots=True)
class OpenAiWhisper:
    """`whisper.transcribe`, unmodified, with its defaults; seeded, because its fallback samples."""

    setup: Setup

    def settings(self) -> dict[str, Any]:
        return {
            "openai-whisper": need_package("openai-whisper"),
            "torch": need_package("torch"),
            "weights": sha256(need(self.setup.checkpoint, "checkpoint")),
            "options": "float32, the defaults of transcribe(): greedy, temperatures 0 to 1, seed 0",
        }

    def answers(self, references: Sequence[Reference]) -> Iterator[tuple[Reference, Answer]]:
        import torch
        import whisper

        torch.set_num_threads(self.setup.threads)
        model = whisper.load_model(str(self.setup.checkpoint), device="cpu").float()

        def transcribe(reference: Reference) -> tuple[str, str]:
            torch.manual_seed(0)
            language = reference.language or None if self.setup.is_told else None
            found = whisper.transcribe(model, str(reference.audio), language=language, fp16=False)
            return found["text"], found["language"]

        return one_by_one(references, transcribe)


@dataclass(frozen=True, slots=True)
class FasterWhisper:
    """Its plain pipeline, or its batched one, searching as openai-whisper does: greedy, then sampling.

    Its own default is a beam of 5 and the best of 5 samples, which is another search, not another engine.
    """

    setup: Setup
    is_batched: bool

    def settings(self) -> dict[str, Any]:
        folder = need(self.setup.ct2_folder, "CTranslate2 model (--ct2)")
        return {
            "faster-whisper": need_package("faster-whisper"),
            "ctranslate2": need_package("ctranslate2"),
            "weights": sha256(need(folder / "model.bin", "model.bin")),
            "options": f"float32, beam 1, best of 1, temperatures 0 to 1, batch {BATCH}"
            if self.is_batched
            else "float32, beam 1, best of 1, temperatures 0 to 1",
        }

    def answers(self, references: Sequence[Reference]) -> Iterator[tuple[Reference, Answer]]:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        model = WhisperModel(
            str(self.setup.ct2_folder), "cpu", compute_type="float32", cpu_threads=self.setup.threads
        )
        pipeline = BatchedInferencePipeline(model) if self.is_batched else model
        more = {"batch_size": BATCH} if self.is_batched else {}

        def transcribe(reference: Reference) -> tuple[str, str]:
            language = reference.language or None if self.setup.is_told else None
            segments, about = pipeline.transcribe(
                str(reference.audio), language=language, beam_size=1, best_of=1, temperature=FALLBACK, **more
            )
            return "".join(segment.text for segment in segments), about.language

        return one_by_one(references, transcribe)


@dataclass(frozen=True, slots=True)
class WhisperCpp:
    """whisper.cpp through pywhispercpp; the checkpoint's float16 numbers as its own files hold them."""

    setup: Setup
    work: Path

    def settings(self) -> dict[str, Any]:
        return {
            "pywhispercpp": need_package("pywhispercpp"),
            "weights": sha256(need(self.setup.checkpoint, "checkpoint")),
            "options": "float16 weights, greedy, best of 1, its fallback",
        }

    def answers(self, references: Sequence[Reference]) -> Iterator[tuple[Reference, Answer]]:
        import _pywhispercpp as binding
        import whisper
        from pywhispercpp.model import Model
        from pywhispercpp.utils import redirect_stderr

        from benchmarks.peers.ggml import write_ggml

        weights = self.work / f"{self.setup.checkpoint.stem}.ggml"
        if not weights.exists():
            write_ggml(self.setup.checkpoint, weights)
        model = Model(
            str(weights),
            n_threads=self.setup.threads,
            print_progress=False,
            print_realtime=False,
            greedy={"best_of": 1},
            redirect_whispercpp_logs_to=None,
        )

        # asked to detect the language, an English-only model names any
        detected = "auto" if binding.whisper_is_multilingual(model._ctx) else "en"

        def transcribe(reference: Reference) -> tuple[str, str]:
            told = (reference.language if self.setup.is_told else "") or detected
            with redirect_stderr(None):  # its remarks would tear the progress bar
                segments = model.transcribe(whisper.load_audio(str(reference.audio)), language=told)
            language = binding.whisper_lang_str(binding.whisper_full_lang_id(model._ctx))
            return " ".join(segment.text for segment in segments), language

        return one_by_one(references, transcribe)
