"""What may be bound."""

from __future__ import annotations

import pytest

from scripts.serve.addresses import Address, check_exposure, is_loopback, with_free_grpc_ports
from scripts.serve.serve_error import ServeError

LOOPBACK = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "http://127.0.0.1:8081",
    "metrics_address": "http://127.0.0.1:8082",
    "disable_token_authorization": "true",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "8.8.8.8", "127.0.0.1.invalid", ""])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "value", ["", "8080", "http://127.0.0.1", "unix:/run/ts.sock", "http://h:99999", "http://:80"]
)
def test_an_address_that_cannot_be_used_is_refused(value: str) -> None:
    with pytest.raises(ServeError, match="inference_address is"):
        Address.parse("inference_address", value)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://[::]:8080", "http://[::1]:8080"),
        ("https://10.1.2.3:443", "https://10.1.2.3:443"),
    ],
)
def test_the_url_is_one_that_this_machine_can_call(value: str, url: str) -> None:
    assert Address.parse("inference_address", value).url == url


@pytest.mark.parametrize("key", ["inference_address", "management_address", "metrics_address"])
def test_each_open_address_needs_keys(key: str) -> None:
    check_exposure(LOOPBACK)
    opened = {**LOOPBACK, key: "http://0.0.0.0:8085"}
    with pytest.raises(ServeError, match=key):
        check_exposure(opened)
    check_exposure({**opened, "disable_token_authorization": "false"})


@pytest.mark.parametrize("key", ["grpc_inference_address", "grpc_management_address"])
@pytest.mark.parametrize("keys", ["true", "false"])
def test_grpc_is_never_open(key: str, keys: str) -> None:
    with pytest.raises(ServeError, match="gRPC"):
        check_exposure({**LOOPBACK, key: "0.0.0.0", "disable_token_authorization": keys})


def test_servers_that_start_together_get_grpc_ports_of_their_own() -> None:
    fixed = {**LOOPBACK, "grpc_inference_port": "7070", "grpc_management_port": "7071"}
    chosen = [with_free_grpc_ports(fixed) for _ in range(2)]
    ports = [each[key] for each in chosen for key in ("grpc_inference_port", "grpc_management_port")]
    assert len({*ports, "7070", "7071"}) == 6
    assert all(each[key] == value for each in chosen for key, value in LOOPBACK.items())
