"""Traces: off by default; on, each request has a span that continues the caller's and holds no content."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from gateway.middleware.stack import add_middleware
from gateway.observe.record import current_record
from gateway.observe.tracing import telemetry
from gateway.settings import ObserveSettings
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.middleware.tiny import Served, parts, settings
from tests.gateway.realtime.streams import counted, speech_pcm, stream
from tests.gateway.served import Gateway, settings_for

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector(ThreadingHTTPServer):
    """Takes what an exporter posts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(20)


def test_off_by_default() -> None:
    options = telemetry(ObserveSettings())
    assert (options["tracing"], options["metrics"], options["logs"]) == (False, False, False)


def test_a_request_is_a_span_of_the_callers_trace(collector: Collector) -> None:
    port = collector.server_address[1]
    chosen = settings(observe={"otlp_endpoint": f"http://127.0.0.1:{port}"})
    options = telemetry(chosen.observe)
    app = FastAPI(telemetry=options)

    @app.get("/thing/{name}")
    async def thing(name: str) -> dict[str, str]:
        current_record().audio_s = 2.5
        return {}

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {}

    add_middleware(app, parts(chosen))
    provider = options["tracer_provider"]
    try:
        with Served(app) as served:
            headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "r-7"}
            httpx2.get(f"{served.url}/thing/secret", headers=headers, timeout=20)
            httpx2.get(f"{served.url}/health/live", headers=headers, timeout=20)
            provider.force_flush()  # type: ignore[union-attr]
    finally:
        provider.shutdown()  # type: ignore[union-attr]
    path, body = collector.received[0]
    assert path == "/v1/traces"
    assert bytes.fromhex(TRACE) in body
    assert b"/thing/{name}" in body and b"whisper.audio_s" in body and b"r-7" in body
    assert not any(b"/health/live" in body for _, body in collector.received)


def test_a_turn_is_a_span_of_its_streams(collector: Collector, tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    observe = {"otlp_endpoint": f"http://127.0.0.1:{collector.server_address[1]}"}
    with FakeTorchServe(delay_s=0.005, keep_windows=False) as upstream:
        upstream.hypothesis = counted
        with Gateway(settings_for(upstream, tmp_path, observe=observe)) as gateway:
            provider = gateway.service.telemetry["tracer_provider"]
            provider.add_span_processor(SimpleSpanProcessor(spans))  # type: ignore[union-attr]
            with stream(gateway.url) as client:
                client.update(turn_detection=None, transcription={"delay": "xhigh"})
                client.append(speech_pcm(0, 1.0))
                client.commit()
                item_id = client.until(".completed")["item_id"]
        provider.shutdown()  # type: ignore[union-attr]
    (turn,) = (span for span in spans.get_finished_spans() if span.name == "turn")
    (whole,) = (span for span in spans.get_finished_spans() if span.name.endswith("/v1/realtime"))
    assert turn.parent is not None and turn.parent.trace_id == whole.context.trace_id
    assert turn.attributes is not None and turn.attributes["whisper.item_id"] == item_id
    assert turn.attributes["whisper.audio_s"] == pytest.approx(1.0, abs=0.05)
    assert "one" not in str(turn.to_json())  # a word of the transcript
