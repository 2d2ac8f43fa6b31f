"""Keys for browsers: made with a real key, good for streams alone, and for minutes."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

from gateway.access.client_secrets import ClientSecrets
from gateway.api_errors import Unauthorized
from gateway.caller import Caller
from tests.gateway.realtime.conftest import StartGateway
from tests.gateway.realtime.streams import speech_pcm, stream
from tests.gateway.realtime.test_refused_handshakes import BEARER, KEY, KEYS, refusal
from tests.gateway.served import Gateway

SESSION: dict[str, Any] = {
    "type": "transcription",
    "audio": {"input": {"turn_detection": None, "transcription": {"language": "de"}}},
}


def test_openais_client_gets_one_and_a_browser_uses_it(start: StartGateway) -> None:
    gateway = start(access=KEYS)
    with openai.OpenAI(api_key=KEY, base_url=f"{gateway.url}/v1") as client:
        secret = client.realtime.client_secrets.create(
            session=SESSION,  # type: ignore[arg-type]
            expires_after={"anchor": "created_at", "seconds": 60},
        )
    assert secret.value.startswith("ek_") and secret.session.type == "transcription"
    assert secret.session.audio is not None and secret.session.audio.input is not None
    assert secret.session.audio.input.turn_detection is None
    protocols = ["realtime", f"openai-insecure-api-key.{secret.value}"]
    for _ in range(2):  # it may open many
        with stream(gateway.url, subprotocols=protocols) as browser:
            browser.append(speech_pcm(0, 1.0))
            browser.commit()
            assert browser.until(".completed")["languages"] == [{"code": "de"}]
            shown = browser.update(turn_detection={"type": "server_vad"})["audio"]["input"]
    assert shown["transcription"]["language"] == "de" and shown["turn_detection"]["type"] == "server_vad"


def test_it_opens_nothing_else(start: StartGateway) -> None:
    gateway = start(access=KEYS)
    value = httpx2.post(f"{gateway.url}/v1/realtime/client_secrets", headers=BEARER).json()["value"]
    answer = httpx2.get(f"{gateway.url}/v1/models", headers={"Authorization": f"Bearer {value}"})
    assert answer.status_code == 401
    status, error, _ = refusal(gateway, additional_headers={"Authorization": f"Bearer {value}x"})
    assert (status, error["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b'{"expires_after": {"seconds": 9}}', "expires_after.seconds"),
        (b'{"expires_after": {"seconds": 7201}}', "expires_after.seconds"),
        (b'{"sesion": {}}', "sesion"),
        (
            b'{"session": {"audio": {"input": {"transcription": {"language": "xx"}}}}}',
            "session.audio.input.transcription.language",
        ),
    ],
)
def test_a_wrong_request(live: Gateway, body: bytes, param: str | None) -> None:
    answer = httpx2.post(f"{live.url}/v1/realtime/client_secrets", content=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_body_that_is_too_large(live: Gateway) -> None:
    answer = httpx2.post(f"{live.url}/v1/realtime/client_secrets", content=b" " * 70_000)
    assert answer.status_code == 413


def test_it_expires() -> None:
    now = 1_000.0
    secrets = ClientSecrets(clock=lambda: now)
    value, secret = secrets.issue(Caller("alice"), {}, 10)
    assert secrets.opened_by(value) is secret and secret.expires_at == 1_010
    now = 1_010.0
    with pytest.raises(Unauthorized):
        secrets.opened_by(value)
