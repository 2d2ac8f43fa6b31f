"""What an upstream's answers mean, and the keys it asks for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from asr.errors import AsrError, EngineFailure, InvalidOption, Overloaded
from gateway.settings import UpstreamSettings
from gateway.torchserve.failures import (
    Busy,
    Cut,
    KeyRefused,
    NoMemory,
    NotDecoded,
    Unreachable,
    WorkerDied,
    failure,
)
from gateway.torchserve.http_client import HttpClient
from gateway.torchserve.upstream import MAX_ANSWER_BYTES, TorchServeUpstream
from tests.gateway.dispatch.conftest import Running
from tests.gateway.dispatch.sessions import Plain, make_window, run_all, text_of
from tests.gateway.fake_answers import NO_WORKER
from tests.gateway.fake_hypotheses import SPEC, fake_text
from tests.gateway.fake_torchserve import FakeTorchServe

Fakes = Callable[..., FakeTorchServe]


def torchserve(status: int, kind: str, message: str) -> bytes:
    return json.dumps({"code": status, "type": kind, "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (400, json.dumps(InvalidOption("no", param="window").body()).encode(), InvalidOption),
        (503, json.dumps(Overloaded("no memory").body()).encode(), NoMemory),
        (500, json.dumps(EngineFailure("broke").body()).encode(), EngineFailure),
        (404, b'{"error": {"message": "?", "type": "x", "code": "not_found"}}', EngineFailure),
        (507, torchserve(507, "InternalServerException", "Worker died."), WorkerDied),
        (500, torchserve(500, "InternalServerException", "Worker died."), WorkerDied),
        (503, torchserve(503, "InternalServerException", "Prediction failed"), WorkerDied),
        (507, torchserve(507, "InternalServerException", "Out of resources"), NoMemory),
        (507, torchserve(507, "OutOfDirectMemoryError", "failed to allocate 16777216 byte(s)"), NoMemory),
        (507, b"<html>nginx</html>", NoMemory),
        (500, torchserve(500, "InternalServerException", "Worker scaled down."), Busy),
        (503, torchserve(503, "ServiceUnavailableException", NO_WORKER), Busy),
        (400, torchserve(400, "InvalidKeyException", "Token Authorization failed."), KeyRefused),
        (401, b"", KeyRefused),
        (404, torchserve(404, "ModelNotFoundException", "Model not found: whisper"), Unreachable),
        (413, b"", EngineFailure),
        (502, b"<html>nginx</html>", Unreachable),
        (500, b'["no object"]', Unreachable),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, meaning: type[Exception]) -> None:
    assert type(failure(status, body)) is meaning


def test_the_handlers_error_keeps_its_words() -> None:
    error = failure(400, json.dumps(InvalidOption("bad window", param="window").body()).encode())
    assert isinstance(error, AsrError)
    assert (error.status, error.message, error.param) == (400, "bad window", "window")


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    opened = HttpClient(1.0, MAX_ANSWER_BYTES)
    yield opened
    opened.close()


async def test_it_describes_answers_and_decodes(fakes: Fakes, client: HttpClient) -> None:
    fake = fakes(workers=2)
    upstream = TorchServeUpstream(fake.url, UpstreamSettings(), client, fake.management_url)
    description = await upstream.describe()
    assert (description.spec, description.max_batch_size) == (SPEC, 16)
    assert await upstream.healthz() and await upstream.workers() == 2
    assert text_of(await upstream.decode(make_window(5))) == fake_text(make_window(5))


async def test_a_worker_of_yesterday_does_not_tell_its_models_family(
    fake: FakeTorchServe, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {name: value for name, value in fake._model("whisper").items() if name != "family"}
    monkeypatch.setattr(fake, "_model", lambda _: facts)
    upstream = TorchServeUpstream(fake.url, UpstreamSettings(), client)
    assert (await upstream.describe()).spec == SPEC
    del facts["n_mels"]
    with pytest.raises(Unreachable, match="n_mels"):
        await upstream.describe()


async def test_an_upstream_that_is_not_there(fake: FakeTorchServe, client: HttpClient) -> None:
    upstream = TorchServeUpstream(fake.url, UpstreamSettings(), client, fake.management_url)
    fake.stop()
    with pytest.raises(Unreachable):
        await upstream.decode(make_window(1))
    with pytest.raises(Unreachable):
        await upstream.describe()
    assert not await upstream.healthz() and await upstream.workers() is None


@pytest.mark.parametrize(
    ("kind", "meaning"),
    [("die", WorkerDied), ("busy", Busy), ("garbage", WorkerDied), ("endless", WorkerDied), ("reset", Cut)],
)
async def test_failures_of_one_window(
    fake: FakeTorchServe, client: HttpClient, kind: str, meaning: type[NotDecoded]
) -> None:
    upstream = TorchServeUpstream(fake.url, UpstreamSettings(), client)
    fake.fail_next(kind)
    with pytest.raises(meaning):
        await upstream.decode(make_window(1))
    assert text_of(await upstream.decode(make_window(1))) == fake_text(make_window(1))


def write_keys(path: Path, key: str) -> None:
    path.write_text(json.dumps({"management": {"key": key}, "inference": {"key": key}, "API": {"key": "x"}}))


async def test_a_key_that_has_changed_is_read_again(fakes: Fakes, running: Running, tmp_path: Path) -> None:
    key_file = tmp_path / "key_file.json"
    write_keys(key_file, "first")
    fake = fakes(key="first")
    before, after = Plain([1, 2, 3]), Plain([4, 5, 6])
    async with running(fake, key_file=key_file, management_urls=(fake.url,)) as dispatcher:
        await run_all(dispatcher, [before])
        fake.key = "second"
        write_keys(key_file, "second")
        await run_all(dispatcher, [after])
    before.check()
    after.check()


async def test_a_key_that_is_wrong_stays_wrong(fakes: Fakes, client: HttpClient, tmp_path: Path) -> None:
    key_file = tmp_path / "key_file.json"
    upstream = TorchServeUpstream(fakes(key="right").url, UpstreamSettings(key_file=key_file), client)
    with pytest.raises(Unreachable, match="no inference key"):
        await upstream.decode(make_window(1))
    write_keys(key_file, "wrong")
    with pytest.raises(KeyRefused):
        await upstream.decode(make_window(1))
