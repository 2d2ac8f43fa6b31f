"""The fake batches and fails as it says: the tests of the dispatcher rest on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx2
import numpy as np
import pytest

from asr.schema import DecodingOptions, Window
from asr.wire import messages
from tests.gateway.fake_hypotheses import TOKENIZER, fake_text
from tests.gateway.fake_torchserve import FakeTorchServe


@pytest.fixture
def fake() -> Iterator[FakeTorchServe]:
    with FakeTorchServe(batch_size=4, max_batch_delay_s=0.2, queue_size=8) as running:
        yield running


def window(seed: int) -> Window:
    return Window(np.full(1600, seed, np.int16), num_frames=10, options=DecodingOptions())


async def post(fake: FakeTorchServe, *seeds: int) -> list[httpx2.Response]:
    url = f"{fake.url}/predictions/whisper/1.0/windows"
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
        return list(
            await asyncio.gather(
                *(client.post(url, content=messages.encode_window(window(seed))) for seed in seeds)
            )
        )


async def test_windows_share_a_batch_and_each_gets_its_own_text(fake: FakeTorchServe) -> None:
    answers = await post(fake, 1, 2, 3, 4)
    assert [len(batch) for batch in fake.batches] == [4]
    for seed, answer in zip((1, 2, 3, 4), answers, strict=True):
        tokens = messages.decode_hypothesis(answer.content).tokens
        assert TOKENIZER.decode([t for t in tokens if t < TOKENIZER.eot]) == fake_text(window(seed))


async def test_a_death_hits_its_whole_batch_and_nobody_else(fake: FakeTorchServe) -> None:
    fake.fail_next("die")
    assert [answer.status_code for answer in await post(fake, 1, 2, 3, 4)] == [500] * 4
    assert [answer.status_code for answer in await post(fake, 1, 2, 3, 4)] == [200] * 4


async def test_a_full_queue_refuses_at_once(fake: FakeTorchServe) -> None:
    fake.delay_s = 0.5
    statuses = [answer.status_code for answer in await post(fake, *range(20))]
    assert sorted(set(statuses)) == [200, 503]


async def test_it_goes_away_and_comes_back(fake: FakeTorchServe) -> None:
    fake.stop()
    with pytest.raises(httpx2.TransportError):
        await post(fake, 1)
    fake.start()
    assert [answer.status_code for answer in await post(fake, 1)] == [200]


async def test_without_its_key_it_answers_as_torchserve_does(fake: FakeTorchServe) -> None:
    fake.key = "secret"
    [answer] = await post(fake, 1)
    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidKeyException")
