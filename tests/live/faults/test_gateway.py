"""What goes wrong around the gateway: a full disk, a jumping clock, new keys, clients that say nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.asr.containers import tone, wav
from tests.live.faults.stack import CLIP, Gateway, Load, load, started_server, until, words
from tests.live.faults.table import record
from tests.live.faults.wellness import survived
from tests.servers import Server

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
SPOOL_BYTES = 4_000_000


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of SPOOL_BYTES mounted at `folder`; skips where this process may not mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPOOL_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this process may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_costs_one_request(server: Server, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        gateway = Gateway(tmp_path, [server], GATEWAY_MEDIA__SPOOL_DIR=str(disk))
        try:
            gateway.wait_ready()
            too_much = tmp_path / "long.wav"
            too_much.write_bytes(wav(tone(SPOOL_BYTES / 32_000 + 30)))
            with survived(server, gateway) as readiness:
                refused = gateway.transcribe(too_much)
                assert refused.status_code in (503, 507), refused.text
                assert refused.json()["error"]["type"] == "server_error"
                assert refused.json()["error"]["code"] == "overloaded"
                counted = 'whisper_gateway_rejected_total{reason="overloaded"} 1.0'  # behind the answer
                until(lambda: counted in requests.get(f"{gateway.url}/metrics", timeout=30).text)
                until(lambda: list(disk.iterdir()) == [])
                started = time.monotonic()
                answer = gateway.transcribe()
                took = time.monotonic() - started
            assert words(answer.text) == gateway.expected
            record(
                "spool directory full",
                took,
                "the next answer",
                f"that upload a {refused.status_code}, the next one right, no file left",
                readiness.back_after_s,
            )
        finally:
            assert gateway.stop() == 0


@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not installed")
def test_a_jumping_clock_changes_nothing(server: Server, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    gateway = Gateway(
        tmp_path, [server], LD_PRELOAD=str(FAKETIME), FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1", DONT_FAKE_MONOTONIC="1",
    )  # fmt: skip
    try:
        gateway.wait_ready()
        with survived(server, gateway) as readiness, load(gateway, clients=4) as result:
            started = time.monotonic()
            for jump in ("+1h", "-1h", "+3650d", "+0"):
                clock.write_text(jump)
                further(result, 4)
            took = time.monotonic() - started
        result.assert_all_right()
        record(
            "clock jumps by +1 h, -1 h, +10 years under 4 clients",
            took,
            "sixteen answers",
            "every answer right, no client retried",
            readiness.back_after_s,
        )
    finally:
        assert gateway.stop() == 0


def further(result: Load, answers: int) -> None:
    """Returns after `answers` more have come."""
    wanted = result.count + answers
    until(lambda: result.count >= wanted)


def test_two_hundred_silent_connections_hurt_nobody(server: Server, gateway: Gateway) -> None:
    files = len(open_files(gateway))
    with survived(server, gateway) as readiness, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10))
        started = time.monotonic()
        assert gateway.is_ready()
        answer = gateway.transcribe()
        took = time.monotonic() - started
        assert words(answer.text) == gateway.expected
        until(lambda: len(open_files(gateway)) < files + 100)  # it hangs up on them, not they on it
    record(
        "200 clients that connect and say nothing",
        took,
        "a request beside them is answered",
        "it is right; they are let go",
        readiness.back_after_s,
    )


def open_files(gateway: Gateway) -> list[str]:
    return os.listdir(f"/proc/{gateway.process.pid}/fd")


def test_torchserves_keys_may_change_under_load(tmp_path: Path) -> None:
    server = started_server(tmp_path / "server", token_auth=True)
    gateway = Gateway(tmp_path, [server])
    try:
        gateway.wait_ready()
        with survived(server, gateway) as readiness, load(gateway, clients=4) as result:
            further(result, 2)
            started = time.monotonic()
            for _ in range(3):
                _new_inference_key(server)
                further(result, 4)
            took = time.monotonic() - started
        result.assert_all_right()
        record(
            "TorchServe's key rotated three times under 4 clients",
            took,
            "twelve answers",
            "every answer right, no client retried",
            readiness.back_after_s,
        )
    finally:
        with server:
            assert gateway.stop() == 0


def _new_inference_key(server: Server) -> None:
    """TorchServe's own rotation: it writes the new key into its key file."""
    assert server.key_file is not None
    keys = json.loads(server.key_file.read_text())
    request = urllib.request.Request(
        f"{server.management}/token?type=inference",
        headers={"Authorization": f"Bearer {keys['API']['key']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200
    assert json.loads(server.key_file.read_text())["inference"]["key"] != keys["inference"]["key"]


def test_the_gateways_keys_may_change_under_load(server: Server, tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    first = {"Authorization": "Bearer sk-old-0123456789abcdef"}

    def allow(*names: str) -> None:
        entries = [{"name": name, "key": f"sk-{name}-0123456789abcdef"} for name in names]
        partial = keys.with_suffix(".partial")
        partial.write_text(json.dumps({"keys": entries}))  # JSON is YAML
        os.replace(partial, keys)

    allow("old")
    gateway = Gateway(tmp_path, [server], GATEWAY_ACCESS__KEYS_FILE=str(keys))
    try:
        gateway.wait_ready(**first)
        current = ["old"]
        headers = lambda: {"Authorization": f"Bearer sk-{current[0]}-0123456789abcdef"}  # noqa: E731
        with survived(server, gateway) as readiness, load(gateway, 4, headers) as result:
            allow("old", "new")
            while gateway.transcribe(CLIP, Authorization="Bearer sk-new-0123456789abcdef").status_code != 200:
                time.sleep(0.1)
            current[0] = "new"
            further(result, 8)
            allow("new")
            withdrawn = time.monotonic()
            while gateway.transcribe(CLIP, Authorization="Bearer sk-old-0123456789abcdef").status_code != 401:
                assert time.monotonic() - withdrawn < 60
                time.sleep(0.1)
            refused_at = time.monotonic()
        result.assert_all_right()
        record(
            "the gateway's own keys rotated under 4 clients",
            refused_at - withdrawn,
            "the old key is refused",
            "every answer right; the old key then a 401",
            readiness.back_after_s,
        )
    finally:
        assert gateway.stop() == 0
