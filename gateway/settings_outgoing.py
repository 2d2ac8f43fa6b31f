"""Settings of requests that leave the gateway for an address that a caller named."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from pydantic import Field, field_validator

from gateway.setting_types import Count, Names, Positive, Section


class OutboundSettings(Section):
    """Where such requests may go, and how long they may take."""

    fetch: bool = False  # whether a job may name its audio by URL
    allow_http: bool = False  # besides https
    allowed_hosts: Names = ()  # names that may be at any address
    allowed_networks: Names = ()  # addresses that are allowed although they are not public
    ca_file: Path | None = None  # PEM file of further certificate authorities
    connect_s: Positive = 10.0  # name, connection and TLS together
    idle_s: Positive = 30.0  # without a byte
    total_s: Positive = 600.0  # of one fetch, redirects included
    max_redirects: int = Field(3, ge=0, le=10)  # of one fetch; a webhook's receiver may not redirect

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"{network!r} must be an address or a network: {error}") from error
        return networks


class WebhookSettings(Section):
    """How events of jobs are delivered."""

    enabled: bool = True  # wherever jobs are
    key_file: Path | None = None  # all signing secrets come from it; None: in the jobs' folder
    max_endpoints_per_key: Count = 20
    timeout_s: float = Field(15.0, gt=0, le=45)  # of one attempt, from the name to the answer
    max_attempts_running: Count = 16  # at once, half of them of one key; each endpoint has one at a time
    keep_days: Positive = 7.0  # finished deliveries, in the delivery log
