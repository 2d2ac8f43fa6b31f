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

from tests.asr.containers import tone, wav
from tests.faults.stack import CLIP, Gateway, load, record, started_server, words
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
            refused = gateway.transcribe(too_much)
            assert refused.status_code in (503, 507), refused.text
            assert refused.json()["error"]["type"] == "server_error"
            assert list(disk.iterdir()) == []
            started = time.monotonic()
            answer = gateway.transcribe()
            assert words(answer.text) == gateway.expected
            record("spool directory full", time.monotonic() - started, "that upload 5xx, the next one right")
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
        started = time.monotonic()
        with load(gateway, clients=4) as result:
            for jump in ("+1h", "-1h", "+3650d", "+0"):
                clock.write_text(jump)
                before, waited = result.count, time.monotonic()
                while result.count < before + 4:
                    assert time.monotonic() - waited < 60
                    time.sleep(0.05)
        result.assert_all_right()
        record("clock jumps by +1 h, -1 h, +10 years", time.monotonic() - started, "no request failed")
    finally:
        assert gateway.stop() == 0


def test_two_hundred_silent_connections_hurt_nobody(gateway: Gateway) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10))
        started = time.monotonic()
        assert gateway.is_ready()
        answer = gateway.transcribe()
        assert words(answer.text) == gateway.expected
        record(
            "200 clients connect and say nothing",
            time.monotonic() - started,
            "a request beside them is right",
        )


def test_torchserves_keys_may_change_under_load(tmp_path: Path) -> None:
    server = started_server(tmp_path / "server", token_auth=True)
    gateway = Gateway(tmp_path, [server])
    try:
        gateway.wait_ready()
        with load(gateway, clients=4) as result:
            for _ in range(3):
                before, waited = result.count, time.monotonic()
                _new_inference_key(server)
                while result.count < before + 4:
                    assert time.monotonic() - waited < 60
                    time.sleep(0.05)
        result.assert_all_right()
        record("TorchServe's key rotated 3 times under 4 clients", 0.0, "no request failed")
    finally:
        assert gateway.stop() == 0
        server.stop()


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
        with load(gateway, 4, headers) as result:
            allow("old", "new")
            while gateway.transcribe(CLIP, Authorization="Bearer sk-new-0123456789abcdef").status_code != 200:
                time.sleep(0.1)
            current[0] = "new"
            before = result.count
            while result.count < before + 8:
                time.sleep(0.05)
            allow("new")
            waited = time.monotonic()
            while gateway.transcribe(CLIP, Authorization="Bearer sk-old-0123456789abcdef").status_code != 401:
                assert time.monotonic() - waited < 60
                time.sleep(0.1)
        result.assert_all_right()
        record(
            "the gateway's own keys rotated under 4 clients", 0.0, "no request failed; the old key is refused"
        )
    finally:
        assert gateway.stop() == 0
