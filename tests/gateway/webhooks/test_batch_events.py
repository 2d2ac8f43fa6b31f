"""A batch from upload to webhook, by OpenAI's client alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.webhooks.signing import read_signing_key
from tests.asr.containers import tone, wav
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.served import Gateway, settings_for
from tests.gateway.webhooks.receivers import Receiver, until

pytestmark = pytest.mark.slow

ENDPOINT: Any = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def site(fake: FakeTorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("jobs")
    outbound = {"fetch": True, "allow_http": True, "allowed_networks": ["127.0.0.0/8"]}
    (folder / "spool").mkdir()
    with Gateway(
        settings_for(fake, folder / "spool", jobs={"directory": folder / "jobs"}, outbound=outbound)
    ) as gateway:
        yield gateway


@pytest.fixture
def client(site: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{site.url}/v1", max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    """The address of a server with one recording, a.wav."""
    (tmp_path / "a.wav").write_bytes(wav(tone(2.0)))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def submit(client: openai.OpenAI, *bodies: dict[str, Any], **extra: Any) -> Any:
    lines = [
        {"custom_id": str(number), "method": "POST", "url": ENDPOINT, "body": {"language": "en", **body}}
        for number, body in enumerate(bodies)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    made = client.files.create(file=("lines.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=made.id, endpoint=ENDPOINT, completion_window="24h", extra_body=extra or None
    )


def wait_for(receiver: Receiver, number: int) -> None:
    until(lambda: len(receiver.received) >= number)


def test_the_end_of_a_batch_arrives_at_endpoint_and_url(
    site: Gateway, client: openai.OpenAI, receiver: Receiver, files: str
) -> None:
    hook = client.webhooks.create(name="all", url=receiver.url, event_types=["batch.completed"])
    bodies = [{"url": f"{files}/a.wav", "vad_filter": False}, {"url": f"{files}/missing.wav"}]
    batch = submit(client, *bodies, {"url": "http://169.254.169.254/"}, webhook_url=receiver.url + "/mine")
    wait_for(receiver, 2)
    directory = site.settings.jobs.directory
    assert directory is not None
    own = read_signing_key(directory / "webhook.key").caller_secret("local")
    by_path = {received.path: received for received in receiver.received}
    for path, secret in (("/hook", hook.signing_secret), ("/hook/mine", own)):
        event = by_path[path].event(secret)
        assert (event["type"], event["data"]["id"]) == ("batch.completed", batch.id)  # type: ignore[index]
    done = client.batches.retrieve(batch.id)
    assert done.request_counts is not None and done.output_file_id and done.error_file_id
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 2)
    errors = [json.loads(line) for line in client.files.content(done.error_file_id).text.splitlines()]
    codes = {line["custom_id"]: line["response"]["body"]["error"]["code"] for line in errors}
    assert codes == {"1": "answer_refused", "2": "url_not_allowed"}
    client.webhooks.delete(hook.id)


def test_a_batch_that_fails_says_so(client: openai.OpenAI, receiver: Receiver) -> None:
    batch = submit(client, {"file_id": "file-nowhere"}, webhook_url=receiver.url)
    wait_for(receiver, 1)
    event = json.loads(receiver.received[0].body)
    assert (event["type"], event["data"]["id"], event["data"]["status"]) == (
        "batch.failed",
        batch.id,
        "failed",
    )


def test_a_webhook_url_is_checked_with_the_batch(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        submit(client, {"file_id": "file-1"}, webhook_url="https://10.0.0.1/")
    assert refusal.value.param == "webhook_url"
