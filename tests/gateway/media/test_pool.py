"""Prepared through the pool as in this process: samples, probabilities, errors, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.audio.prepare import PreparedAudio, prepare
from asr.config import Limits
from asr.errors import AsrError, Overloaded
from asr.request.options import RequestOptions
from gateway.api_errors import NotReady
from gateway.media.pool import MediaPool
from gateway.settings import MediaSettings
from tests.asr import containers
from tests.asr.containers import CONTAINERS
from tests.gateway.media import pools
from tests.gateway.media.pools import running

pytestmark = pytest.mark.slow

SPEECH = Path(__file__).parents[3] / "samples" / "harvard.wav"
FILTERED, UNFILTERED, SEQUENTIAL = (
    RequestOptions(),
    RequestOptions(vad_filter=False),
    RequestOptions(long_form="sequential"),
)


def assert_same(found: PreparedAudio, expected: PreparedAudio) -> None:
    assert found.audio.source == expected.audio.source
    assert found.audio.samples.dtype == np.int16
    np.testing.assert_array_equal(found.audio.samples, expected.audio.samples)
    assert found.log_mel_max == expected.log_mel_max
    assert (found.speech_probs is None) == (expected.speech_probs is None)
    if found.speech_probs is not None and expected.speech_probs is not None:
        assert found.speech_probs.dtype == np.float32
        np.testing.assert_array_equal(found.speech_probs, expected.speech_probs)


async def test_every_container_is_prepared_as_in_this_process(tmp_path: Path) -> None:
    bodies = {container.name: containers.stored(container, 3.0) for container in CONTAINERS}
    paths = [pools.stored(tmp_path / name, body) for name, body in bodies.items()]
    async with running(tmp_path / "..", processes=2) as pool:
        found = await asyncio.gather(*(pool.prepare(path, FILTERED) for path in paths))
    for one, body in zip(found, bodies.values(), strict=True):
        assert_same(one, prepare(body, FILTERED, Limits()))


@pytest.mark.parametrize(
    ("options", "n_mels"), [(FILTERED, 80), (UNFILTERED, 80), (SEQUENTIAL, 80), (SEQUENTIAL, 128)]
)
async def test_speech_is_prepared_as_in_this_process(
    options: RequestOptions, n_mels: int, tmp_path: Path
) -> None:
    async with running(tmp_path) as pool:
        found = await pool.prepare(SPEECH, options, n_mels)
    assert_same(found, prepare(SPEECH.read_bytes(), options, Limits(), n_mels))


BROKEN = {
    "empty": b"",
    "noise": bytes(range(256)) * 40,
    "text": b"<html>no sound here</html>" * 100,
    "no track": containers.video(with_audio=False),
    "no samples": containers.riff(b"", channels=1),
    "33 channels": containers.riff(bytes(66_000), channels=33),
    "too long": containers.repeated_flac(5 * 60, declared_samples=0),
}


async def test_errors_arrive_as_they_are_raised_here_and_the_process_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as pool:
        for name, body in BROKEN.items():
            with pytest.raises(AsrError) as expected:
                prepare(body, FILTERED, Limits())
            with pytest.raises(AsrError) as found:
                await pool.prepare(pools.stored(tmp_path / "upload", body), FILTERED)
            assert type(found.value) is type(expected.value), name
            assert found.value.body() == expected.value.body()
        assert_same(await pool.prepare(SPEECH, FILTERED), prepare(SPEECH.read_bytes(), FILTERED, Limits()))
        stats = pool.stats()
    assert (stats["started"], stats["prepared"], stats["refused"]) == (1, 1, len(BROKEN))


async def test_the_limits_are_the_pools(tmp_path: Path) -> None:
    limits = Limits(max_audio_seconds=1.0, max_upload_bytes=100_000)
    pool = MediaPool(MediaSettings(processes=1, spool_dir=tmp_path), limits)
    await pool.start()
    try:
        for seconds in (2.0, 10.0):
            upload = pools.short_upload(tmp_path, seconds)
            with pytest.raises(AsrError) as expected:
                prepare(upload.read_bytes(), FILTERED, limits)
            with pytest.raises(AsrError) as found:
                await pool.prepare(upload, FILTERED)
            assert found.value.body() == expected.value.body()
    finally:
        await pool.close()


async def test_twenty_uploads_at_once_over_two_processes(tmp_path: Path) -> None:
    uploads = [pools.short_upload(tmp_path, 1.0 + i / 10) for i in range(20)]
    async with running(tmp_path, processes=2) as pool:
        await pools.until_ready(pool, 2)
        tasks = [asyncio.create_task(pool.prepare(upload, FILTERED)) for upload in uploads]
        await asyncio.sleep(0)
        stats = pool.stats()  # a process may have answered before the next upload came to the line
        assert (stats["busy"], stats["waiting"] + stats["prepared"]) == (2, 18)
        found = await asyncio.gather(*tasks)
        assert (pool.stats()["busy"], pool.stats()["waiting"], pool.stats()["prepared"]) == (0, 0, 20)
    assert [one.audio.duration_s for one in found] == pytest.approx([1.0 + i / 10 for i in range(20)])


async def test_no_file_is_left_nor_seen(tmp_path: Path) -> None:
    spool, uploads = tmp_path / "spool", tmp_path / "uploads"
    spool.mkdir()
    uploads.mkdir()
    seen: set[str] = set()
    async with running(spool) as pool:
        task = asyncio.create_task(pool.prepare(pools.long_upload(uploads, 10), UNFILTERED))
        while not task.done():
            seen.update(os.listdir(spool))
            await asyncio.sleep(0.005)
        prepared = await task
        assert prepared.audio.duration_s >= 10 * 60
        assert not prepared.audio.samples.any()
    assert seen == set(os.listdir(spool)) == set()


async def test_a_long_upload_is_not_copied_into_this_process(tmp_path: Path) -> None:
    async with running(tmp_path) as pool:
        upload = pools.long_upload(tmp_path, 60)
        await pool.prepare(pools.short_upload(tmp_path), UNFILTERED)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        prepared = await pool.prepare(upload, UNFILTERED)
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert prepared.audio.samples.nbytes > 100_000_000
    assert grown_mb < 20


async def test_samples_cannot_be_changed_by_mistake(tmp_path: Path) -> None:
    async with running(tmp_path) as pool:
        prepared = await pool.prepare(pools.short_upload(tmp_path), FILTERED)
    with pytest.raises(ValueError, match="read-only"):
        prepared.audio.samples[0] = 1


async def test_a_pool_that_is_closed_takes_and_keeps_nothing(tmp_path: Path) -> None:
    upload = pools.long_upload(tmp_path)
    async with running(tmp_path) as pool:
        await pools.until_ready(pool)
        tasks = [asyncio.create_task(pool.prepare(upload, FILTERED)) for _ in range(2)]
        await pools.reader_of(upload)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Overloaded, NotReady}
    with pytest.raises(NotReady):
        await pool.prepare(upload, FILTERED)


async def test_processes_that_cannot_start_are_told_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, memory_mb=16) as pool:
        with pytest.raises(Overloaded):
            await pool.prepare(pools.short_upload(tmp_path), FILTERED)
        assert pool.stats()["failed_starts"] >= 1


async def test_only_what_preparing_depends_on_is_told(tmp_path: Path) -> None:
    """A process that decodes what strangers send knows no prompt."""
    from gateway.media.protocol import Task

    options = replace(SEQUENTIAL, prompt="a secret", hotwords=("Kyoto",))
    message = Task(options.long_form, options.vad_filter, 80).to_message()
    assert b"secret" not in message
    async with running(tmp_path) as pool:
        assert (await pool.prepare(SPEECH, options)).log_mel_max is not None
