"""Signatures as OpenAI's client and the standard's library read them, and the file they are made from."""

from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.settings_errors import SettingsError
from gateway.webhooks.__main__ import main
from gateway.webhooks.outbox import event_body
from gateway.webhooks.signing import SigningKey, hint, read_signing_key, signed_headers

KEY = SigningKey(b"k" * 32)
NEW, OLD = KEY.endpoint_secret("we_1", 2), KEY.endpoint_secret("we_1", 1)
CLIENT = openai.OpenAI(api_key="none")


def body(now: float) -> str:
    return event_body("evt_1", "batch.completed", now, {"id": "batch_1", "metadata": {"title": "Übung ✓"}})


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_both_verifiers_take_each_of_two_signatures(secret: str) -> None:
    now = time.time()
    headers = signed_headers("evt_1", body(now), now, [NEW, OLD])
    event = CLIENT.webhooks.unwrap(body(now), headers, secret=secret)
    assert (event.id, event.type, event.data.id) == ("evt_1", "batch.completed", "batch_1")  # type: ignore[union-attr]
    assert Webhook(secret).verify(body(now), headers)["data"]["metadata"] == {"title": "Übung ✓"}
    assert event.created_at == int(now)


def test_another_secret_another_body_and_another_id_are_refused() -> None:
    now = time.time()
    headers = signed_headers("evt_1", body(now), now, [NEW])
    for wrong_body, wrong_headers, secret in (
        (body(now), headers, OLD),
        (body(now) + " ", headers, NEW),
        (body(now), headers | {"webhook-id": "evt_2"}, NEW),
        (body(now), headers | {"webhook-timestamp": str(int(now) + 1)}, NEW),
    ):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            CLIENT.webhooks.unwrap(wrong_body, wrong_headers, secret=secret)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(wrong_body, wrong_headers)


@pytest.mark.parametrize("skew_s", [-301, 301])
def test_a_clock_that_is_five_minutes_off_is_refused(skew_s: float) -> None:
    then = time.time() + skew_s + (1 if skew_s > 0 else -1)
    headers = signed_headers("evt_1", body(then), then, [NEW])
    with pytest.raises(openai.InvalidWebhookSignatureError):
        CLIENT.webhooks.unwrap(body(then), headers, secret=NEW)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body(then), headers)


def test_secrets_differ_and_their_hint_is_their_end() -> None:
    other = SigningKey(b"o" * 32)
    made = [NEW, OLD, KEY.endpoint_secret("we_2", 1), KEY.caller_secret("we_1\n1"), KEY.caller_secret("bob"),
            other.endpoint_secret("we_1", 1)]  # fmt: skip
    assert len(set(made)) == len(made)
    assert hint(NEW) == f"whsec_…{NEW[-4:]}"
    assert KEY.fingerprint != other.fingerprint


def test_the_key_file_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "webhook.key"
    with ThreadPoolExecutor(8) as threads:
        made = {key.fingerprint for key in threads.map(read_signing_key, [path] * 8)}
    assert len(made) == 1 and [*tmp_path.iterdir()] == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "c2hvcnQ=", "not base64!" * 10, "ü" * 44])
def test_a_broken_key_file_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "webhook.key"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"webhooks\.key_file is "):
        read_signing_key(path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_signing_key(tmp_path / "nowhere" / "webhook.key")


def test_the_operator_prints_a_callers_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "webhook.key"
    assert main([str(path), "alice"]) == 1 and not path.exists()
    key = read_signing_key(path)
    assert main([str(path), "alice"]) == 0
    assert capsys.readouterr().out == key.caller_secret("alice") + "\n"
    assert main([]) == 2
