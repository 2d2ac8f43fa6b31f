"""Our server, asked over HTTP as a user asks it: the gateway before TorchServe, with what is shipped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.languages import LANGUAGES
from benchmarks.wer.answers import Answer
from benchmarks.wer.systems import Setup, need, one_by_one, sha256
from whisper_client.client import WhisperClient, openai_url
from whisper_client.references import Reference

ROOT = Path(__file__).resolve().parents[2]
CODES = {name: code for code, name in LANGUAGES.items()}
TIMEOUT_S = 3600.0  # a long recording waits for the others on a slow machine


@dataclass(frozen=True, slots=True)
class Ours:
    """`long_form` is the request's: "parallel" or "sequential"."""

    setup: Setup
    long_form: str

    def settings(self) -> dict[str, Any]:
        if self.setup.url:
            with client_of(self.setup.url) as client:
                return {"url": self.setup.url, "model": client.describe(), "long_form": self.long_form}
        code = {name: sha256(ROOT / name) for name in ("handler", "gateway", "config")}
        weights = sha256(need(self.setup.checkpoint, "checkpoint"))
        return {
            "weights": weights,
            **code,
            "options": f"float32, long_form={self.long_form}, all else as shipped",
        }

    def answers(self, references: Sequence[Reference]) -> Iterator[tuple[Reference, Answer]]:
        with served(self.setup) as url, client_of(url) as client:

            def transcribe(reference: Reference) -> tuple[str, str]:
                told = {"language": reference.language} if self.setup.is_told and reference.language else {}
                reply = client.transcribe(
                    reference.audio, response_format="verbose_json", long_form=self.long_form, **told
                ).raise_for_status()
                said = (reply.document or {}).get("language") or ""
                return reply.text, CODES.get(said, said)

            with ThreadPoolExecutor(self.setup.concurrency) as pool:
                pending = [pool.submit(next, one_by_one([one], transcribe)) for one in references]
                try:
                    yield from (done.result() for done in as_completed(pending))
                finally:  # Ctrl-C waits for the requests under way, not for the others
                    for future in pending:
                        future.cancel()


def client_of(url: str) -> WhisperClient:
    return WhisperClient(openai_url(url), timeout_s=TIMEOUT_S)


@contextmanager
def served(setup: Setup) -> Iterator[str]:
    """Address of the gateway that the command line names, else of one that is started for the block."""
    if setup.url:
        yield setup.url
        return
    from tests.live.faults.stack import Gateway
    from tests.servers import start_server

    engine = {"precision": "float32", "device": "cpu", "threads": setup.threads}
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(setup.checkpoint, Path(folder), model_config={"handler": {"engine": engine}})
        try:
            gateway = Gateway(Path(folder), [server])
            try:
                gateway.wait_until(gateway.is_ready, "ready")
                yield gateway.url
            finally:
                gateway.stop()
        finally:
            server.stop()
