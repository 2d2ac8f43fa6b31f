"""A gateway of its own whose disk is full, or whose clock is set back: nothing is lost."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.jobs.conftest import WHOLE, line, rows, stuck, submit, until, upload, wait
from tests.gateway.process.running import GatewayProcess

pytestmark = pytest.mark.slow

NUM_LINES = 12
DISK_BYTES = 8_000_000  # SQLite's log stays below 4 MB meanwhile, at which it would find room in itself
FULL_S = float(os.environ.get("DISK_FULL_S", "1"))  # by hand: 30
HOUR_S = 3_600
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small one."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this process may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """How far the gateway's clock is from ours."""
    if not FAKETIME.exists():
        pytest.skip("libfaketime is not installed")
    file = tmp_path_factory.mktemp("clock") / "offset"
    file.write_text("+0")
    return file


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeTorchServe]:
    with FakeTorchServe(delay_s=0.005, batch_size=4, keep_windows=False) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(fake: FakeTorchServe, disk: Path, clock: Path) -> Iterator[GatewayProcess]:
    faked = {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in faked.items():
            patch.setenv(name, value)
        process = GatewayProcess(fake.url, jobs__directory=disk / "jobs", jobs__lines=2)
    with process:
        yield process


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{gateway.url}/v1", max_retries=0, timeout=60) as client:
        yield client


def run_lines(client: openai.OpenAI, audio: bytes) -> str:
    """The id of a batch of which a line is done; most are not if decoding is stuck."""
    file_id = upload(client, audio)
    batch = submit(client, [line(str(n), file_id=file_id, **WHOLE) for n in range(NUM_LINES)])
    until(lambda: client.batches.retrieve(batch.id), lambda one: one.request_counts.completed)
    return batch.id


def check_whole(client: openai.OpenAI, batch_id: str) -> Any:
    done = wait(client, batch_id)
    assert done.status == "completed" and done.request_counts.completed == NUM_LINES
    assert rows(client, done.output_file_id).keys() == {str(n) for n in range(NUM_LINES)}
    return done


def failed_writes(gateway: GatewayProcess) -> float:
    text = gateway.get("/metrics")[1].decode()
    (value,) = re.findall(r"^whisper_gateway_job_failed_writes_total (\S+)$", text, re.MULTILINE)
    return float(value)


def fill(path: Path) -> None:
    """Writes until there is no room, not even for a single page."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def test_a_full_disk_loses_nothing(
    gateway: GatewayProcess, client: openai.OpenAI, fake: FakeTorchServe, tone_wav: bytes, disk: Path
) -> None:
    with stuck(fake):
        batch_id = run_lines(client, tone_wav)
        fill(disk / "filler")
    until(lambda: failed_writes(gateway), bool)
    stands = client.batches.retrieve(batch_id)
    assert stands.status == "in_progress" and stands.request_counts.failed == 0
    for ask in (lambda: upload(client, tone_wav), lambda: client.batches.cancel(batch_id)):
        with pytest.raises(openai.InternalServerError) as refused:
            ask()
        assert (refused.value.status_code, refused.value.code) == (503, "overloaded")
    assert gateway.get("/health/ready")[0] == 200, "requests that need no jobs are answered"
    time.sleep(FULL_S)
    (disk / "filler").unlink()
    check_whole(client, batch_id)


def test_a_clock_set_back_by_an_hour_loses_nothing(
    client: openai.OpenAI, fake: FakeTorchServe, tone_wav: bytes, clock: Path
) -> None:
    # libfaketime breaks one `time.sleep` of dbos, in a thread that no job needs; a real clock does not
    with stuck(fake):
        batch_ids = [run_lines(client, tone_wav)]
        clock.write_text(f"-{HOUR_S}")
    batch_ids.append(run_lines(client, tone_wav))
    for batch_id in batch_ids:
        done = check_whole(client, batch_id)
    assert done.created_at < time.time() - HOUR_S / 2, "its clock was set back"


def test_a_gateway_with_a_full_disk_ends_in_order(
    gateway: GatewayProcess, client: openai.OpenAI, fake: FakeTorchServe, tone_wav: bytes, disk: Path
) -> None:
    before = failed_writes(gateway)
    with stuck(fake):
        run_lines(client, tone_wav)
        fill(disk / "filler")
    until(lambda: failed_writes(gateway), lambda count: count > before)
    gateway.stop()
    (disk / "filler").unlink()
