#!/usr/bin/env python3
"""Another system behind the simplest server that people write: one model, one route, FastAPI's threads.

python benchmarks/peers/simple_server.py faster-whisper-batched-int8 MODEL THREADS PORT
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, UploadFile
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

FALLBACK = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]  # openai-whisper's; greedy first, as ours
BATCH = 8
Transcribe = Callable[[NDArray[np.float32]], str]  # 16 kHz mono → text


def faster_whisper(model: Path, threads: int, numbers: str, *, is_batched: bool) -> Transcribe:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    loaded = WhisperModel(str(model), "cpu", compute_type=numbers, cpu_threads=threads)
    pipeline: Any = BatchedInferencePipeline(loaded) if is_batched else loaded
    options: dict[str, Any] = {"beam_size": 1, "best_of": 1, "temperature": FALLBACK}
    options |= {"batch_size": BATCH} if is_batched else {}

    def transcribe(samples: NDArray[np.float32]) -> str:
        segments, _ = pipeline.transcribe(samples, **options)
        return "".join(segment.text for segment in segments)

    return transcribe


def openai_whisper(model: Path, threads: int) -> Transcribe:
    import torch
    import whisper

    torch.set_num_threads(threads)
    loaded = whisper.load_model(str(model), device="cpu").float()
    lock = Lock()

    def transcribe(samples: NDArray[np.float32]) -> str:
        with lock:  # its key-value cache hangs on the model
            return str(whisper.transcribe(loaded, samples, fp16=False)["text"])

    return transcribe


def whisper_cpp(model: Path, threads: int) -> Transcribe:
    from pywhispercpp.model import Model

    from benchmarks.peers.ggml import write_ggml

    weights = Path(tempfile.mkdtemp()) / "model.ggml"
    write_ggml(model, weights)
    loaded = Model(str(weights), n_threads=threads, print_progress=False, redirect_whispercpp_logs_to=None)
    lock = Lock()

    def transcribe(samples: NDArray[np.float32]) -> str:
        with lock:
            return " ".join(segment.text for segment in loaded.transcribe(samples, language="auto"))

    return transcribe


def loaded(name: str, model: Path, threads: int) -> Transcribe:
    if name == "openai-whisper":
        return openai_whisper(model, threads)
    if name == "whisper.cpp":
        return whisper_cpp(model, threads)
    return faster_whisper(model, threads, name.rpartition("-")[2], is_batched="batched" in name)


def served(transcribe: Transcribe) -> FastAPI:
    from faster_whisper import decode_audio

    app = FastAPI()

    @app.post("/v1/audio/transcriptions")
    def transcriptions(file: UploadFile) -> dict[str, str]:
        return {"text": transcribe(decode_audio(file.file))}

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    system, folder, count, port = sys.argv[1:]
    app = served(loaded(system, Path(folder), int(count)))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
