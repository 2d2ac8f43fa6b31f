"""What an upload can do to the process that decodes it costs that upload only."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asr.errors import AsrError, Overloaded, TooLarge, UnsupportedMedia
from asr.request.options import RequestOptions
from gateway.media.pool import MediaPool
from tests.gateway.media import pools
from tests.gateway.media.pools import running
from tests.processes import started

ROOT = Path(__file__).parents[3]
OPTIONS = RequestOptions()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc"),
]


async def assert_serves(pool: MediaPool, folder: Path) -> None:
    prepared = await pool.prepare(pools.short_upload(folder), OPTIONS)
    assert prepared.audio.duration_s == 2.0


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGKILL, Overloaded), (signal.SIGSEGV, UnsupportedMedia)]
)
async def test_a_process_that_dies_fails_its_upload_and_is_replaced(
    number: signal.Signals, error: type[AsrError], tmp_path: Path
) -> None:
    async with running(tmp_path, processes=2) as pool:
        await pools.until_ready(pool, 2)
        before = pools.child_pids()
        upload = pools.long_upload(tmp_path)
        tasks = [asyncio.create_task(pool.prepare(upload, OPTIONS))]
        victim = await pools.reader_of(upload)
        assert victim in before
        neighbours = [pool.prepare(pools.short_upload(tmp_path), OPTIONS) for _ in range(4)]
        tasks += [asyncio.create_task(one) for one in neighbours]
        os.kill(victim, number)
        lost, *others = await asyncio.gather(*tasks, return_exceptions=True)
        assert type(lost) is error
        assert not any(isinstance(other, BaseException) for other in others)
        await pools.until_ready(pool, 2)
        after = pools.child_pids()
        assert len(after) == 2
        assert victim not in after
        await assert_serves(pool, tmp_path)


async def test_a_process_that_dies_idle_costs_nobody_anything(tmp_path: Path) -> None:
    async with running(tmp_path) as pool:
        await pools.until_ready(pool)
        for _ in range(3):
            [pid] = pools.child_pids()
            os.kill(pid, signal.SIGKILL)
            await assert_serves(pool, tmp_path)


async def test_memory_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path, memory_mb=600) as pool:
        await assert_serves(pool, tmp_path)
        with pytest.raises(TooLarge, match="memory"):
            await pool.prepare(pools.long_upload(tmp_path), OPTIONS)
        await assert_serves(pool, tmp_path)
        assert pool.stats()["started"] == 2


async def test_processor_time_is_bounded_per_upload(tmp_path: Path) -> None:
    """The limit counts from each upload's start: many uploads together may take longer."""
    async with running(tmp_path, cpu_s=0.5) as pool:
        with pytest.raises(TooLarge, match=r"0\.5 s of processor time"):
            await pool.prepare(pools.long_upload(tmp_path), OPTIONS)
        await assert_serves(pool, tmp_path)
        [pid] = pools.child_pids()
        while cpu_ticks(pid) < 2.5 * os.sysconf("SC_CLK_TCK"):
            await pool.prepare(pools.long_upload(tmp_path, 1), OPTIONS)
        assert pools.child_pids() == [pid]


async def test_a_caller_that_leaves_ends_the_work(tmp_path: Path) -> None:
    async with running(tmp_path) as pool:
        await pools.until_ready(pool)
        [pid] = pools.child_pids()
        upload = pools.long_upload(tmp_path)
        at_work = asyncio.create_task(pool.prepare(upload, OPTIONS))
        assert await pools.reader_of(upload) == pid
        waits = asyncio.create_task(pool.prepare(pools.short_upload(tmp_path), OPTIONS))
        leaves_early = asyncio.create_task(pool.prepare(pools.short_upload(tmp_path), OPTIONS))
        await asyncio.sleep(0)
        assert pool.stats()["waiting"] == 2
        leaves_early.cancel()
        at_work.cancel()
        outcomes = await asyncio.gather(at_work, leaves_early, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert (await waits).audio.duration_s == 2.0
        assert pid not in pools.child_pids()
        assert pool.stats()["waiting"] == 0


async def test_cancelling_at_any_moment_leaves_a_pool_that_serves(tmp_path: Path) -> None:
    async with running(tmp_path, processes=2) as pool:
        await pools.until_ready(pool, 2)
        upload = pools.short_upload(tmp_path)
        for step in range(12):
            tasks = [asyncio.create_task(pool.prepare(upload, OPTIONS)) for _ in range(4)]
            await asyncio.sleep(step * 0.002)
            for task in tasks[step % 2 :]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await assert_serves(pool, tmp_path)
        await pools.until_ready(pool, 2)
        await pools.until(lambda: not pool.stats()["busy"], "idle")
        assert pool.stats()["waiting"] == 0


async def test_signals_to_the_gateways_group_do_not_reach_the_work(tmp_path: Path) -> None:
    async with running(tmp_path) as pool:
        await pools.until_ready(pool)
        [pid] = pools.child_pids()
        assert os.getpgid(pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        await assert_serves(pool, tmp_path)
        assert pools.child_pids() == [pid]


async def test_a_process_knows_no_secret_and_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_ACCESS__KEYS", '["secret-key"]')
    async with running(tmp_path) as pool:
        await pools.until_ready(pool)
        [pid] = pools.child_pids()
        assert b"secret-key" not in Path(f"/proc/{pid}/environ").read_bytes()
        limits = Path(f"/proc/{pid}/limits").read_text()
        found = {line[:25].strip(): line[26:].split()[:2] for line in limits.splitlines()[1:]}
        assert found["Max address space"] == [str(2048 << 20)] * 2
        assert found["Max core file size"] == ["0", "0"]
        assert int(found["Max file size"][0]) < 500_000_000
        assert found["Max open files"] == ["64", "64"]


ORPHANED = """
import asyncio, sys
from asr.config import Limits
from gateway.media.pool import MediaPool
from gateway.settings import MediaSettings

async def main():
    pool = MediaPool(MediaSettings(processes=2), Limits())
    await pool.start()
    while pool.stats()["ready"] < 2:
        await asyncio.sleep(0.05)
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_processes_end_with_a_gateway_that_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'handler'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", ORPHANED]
    with started(command, env=environment, stdout=subprocess.PIPE) as gateway:
        assert gateway.stdout.readline() == b"ready\n"
        children = pools.child_pids(gateway.pid)
        assert len(children) == 2
        gateway.kill()
    await pools.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "gone")


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
