"""Many uploads at once: they go to disk as they come, and memory stays flat.

GATEWAY_TEST_LONG=1 runs it at the size that the service promises: fifty clients with 100 MB each.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.process.hostile import FILE, FORM, chunk, request
from tests.gateway.process.running import GatewayProcess

pytestmark = pytest.mark.slow

LONG = bool(os.environ.get("GATEWAY_TEST_LONG"))
CLIENTS, MEGABYTES = (50, 100) if LONG else (20, 8)
ALLOWED_MB = 80  # of growth; the uploads together are twice that, or sixty times
PIECE = b"\x00" * 1_000_000


def upload(gateway: GatewayProcess, answers: list[bytes]) -> None:
    """A form of `MEGABYTES`, none of them audio."""
    with gateway.connect(timeout=300) as connection:
        connection.sendall(
            request("POST /v1/audio/transcriptions HTTP/1.1", "Transfer-Encoding: chunked", FORM + "X")
        )
        connection.sendall(chunk(FILE))
        for _ in range(MEGABYTES):
            connection.sendall(chunk(PIECE))
        connection.sendall(chunk(b"\r\n--X--\r\n") + chunk(b""))
        answers.append(connection.recv(1000))


def test_memory_does_not_grow_with_uploads(fake: FakeTorchServe, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    answers: list[bytes] = []
    peak = 0.0
    with GatewayProcess(fake.url, media__spool_dir=spool, media__upload_idle_s=120) as gateway:
        before = gateway.resident_mb()
        threads = [threading.Thread(target=upload, args=(gateway, answers)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, gateway.resident_mb())
            threads[0].join(0.01)
            assert gateway.get("/health/live")[0] == 200
        assert len(answers) == CLIENTS
        assert all(
            b" 415 " in answer.splitlines()[0] or b" 400 " in answer.splitlines()[0] for answer in answers
        )
        assert peak < before + ALLOWED_MB, f"{before:.0f} MB before, {peak:.0f} MB with the uploads"
        assert list(spool.iterdir()) == []
