"""Tokens that stay secret, addresses that cannot be, and what refusals say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.fake_server import (
    Behaviour,
    FakeServer,
    openai_error,
    plain,
    reset,
    slow,
    status,
    truncated,
)
from tests.clients.no_wait import NoWaitClient
from whisper_client import (
    BadArgument,
    ClientError,
    ServerRefused,
    WhisperClient,
)

SECRET = "s3cret-Token_42"


def test_the_token_is_sent(server: FakeServer, clip: Path) -> None:
    with NoWaitClient(server.url, f" {SECRET}\n") as client:
        client.transcribe(clip)
    assert server.received[0].headers["Authorization"] == f"Bearer {SECRET}"


def test_the_token_is_never_shown(
    server: FakeServer, clip: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    shown = []
    with NoWaitClient(server.url, SECRET, retries=0, timeout_s=0.2) as client:
        for behaviour in (status(400, "no"), status(503), reset, truncated, slow):
            server.play(behaviour)
            try:
                shown.append(repr(client.transcribe(clip).raise_for_status()))
            except ClientError as error:
                shown.append(f"{error} {error!r} {vars(error)}")
        shown.append(f"{client!r} {client._transport!r} {client._transport._auth!r}")
    with pytest.raises(BadArgument) as refused:
        WhisperClient(server.url, f"{SECRET} {SECRET}")
    shown += [str(refused.value), repr(refused.value), caplog.text, *capfd.readouterr()]
    assert len(shown) == 11
    assert SECRET not in "".join(shown)


def test_a_login_in_netrc_is_not_taken(
    server: FakeServer, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\nmachine 0.0.0.0 login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for url in (server.url, server.url.replace("127.0.0.1", "0.0.0.0")):  # the second is no loopback address
        with NoWaitClient(url) as client:
            client.transcribe(clip)
    assert ["Authorization" in request.headers for request in server.received] == [False, False]


def test_a_proxy_is_not_asked_for_this_machine(
    server: FakeServer, free_port: int, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port}")
    with NoWaitClient(server.url) as client:
        assert client.transcribe(clip).ok


def test_a_redirect_is_not_followed(server: FakeServer, clip: Path) -> None:
    server.play(plain(b"", "text/plain", 302, Location="/elsewhere"))
    with NoWaitClient(server.url, SECRET) as client, pytest.raises(ServerRefused, match="redirect"):
        client.transcribe(clip).raise_for_status()
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://h/x", "http://", "http://h:x/", "http://h:99999/", "http:///path"]
)
def test_an_address_that_cannot_be(url: str) -> None:
    with pytest.raises(BadArgument, match=r"is no address: write it as http://"):
        WhisperClient(url)


def test_a_login_in_the_address_is_refused_unquoted() -> None:
    with pytest.raises(BadArgument, match="WHISPER_TOKEN") as refused:
        WhisperClient(f"http://me:{SECRET}@host/")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (status(400, "Token is missing or InvalidKeyException"), "set WHISPER_TOKEN"),
        (openai_error(401, "bad key"), "set WHISPER_TOKEN"),
        (plain(b"", "text/plain", 413), "413 (too large); send a shorter or compressed file"),
        (
            plain(b"<html>\n<b>Bad\x1b[31m gateway</b>", "text/html", 418),
            "418: <html> <b>Bad?[31m gateway</b>",
        ),
        (status(404, "Model not found: whisper"), "Model not found: whisper; check the address"),
        (plain(b'{"error": "plain words"}', "application/json", 400), "400: plain words"),
        (openai_error(400, "x" * 999), f"400: {'x' * 400}…"),
        (plain(b'{"detail": [1]}', "application/json", 422), '422: {"detail": [1]}'),
    ],
)
def test_refusals_say_what_to_do(
    server: FakeServer, client: NoWaitClient, clip: Path, behaviour: Behaviour, words: str
) -> None:
    server.play(behaviour)
    with pytest.raises(ServerRefused) as refused:
        client.transcribe(clip).raise_for_status()
    assert words in str(refused.value) and "\n" not in str(refused.value)
