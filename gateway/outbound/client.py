"""The one way out: every request to an address that a caller named goes through here."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urljoin

from gateway.outbound.exchange import Exchange, Head, Pace, exchange_with
from gateway.outbound.outbound_errors import BadAnswer, Broken, FetchingOff, OutboundError, RefusedUrl
from gateway.outbound.resolver import LookUp, Resolver, SystemLookUp
from gateway.outbound.target import Target, target_of
from gateway.settings_errors import SettingsError
from gateway.settings_outgoing import OutboundSettings

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_DROPPED_BYTES = 64 * 1024  # of the answer to a POST, so that the other side can finish it
DROP_S = 2.0  # for those bytes: the status has come, and that is the answer


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that was fetched."""

    num_bytes: int
    sha256: str  # hexadecimal
    content_type: str  # as the server says; "" if it does not
    url: str  # the last one, after redirects


class OutboundClient:
    """Requests to public addresses, and to those that the settings list."""

    def __init__(
        self, settings: OutboundSettings, user_agent: str, max_bytes: int, look_up: LookUp | None = None
    ) -> None:
        """max_bytes: cap of a fetched file. look_up: the machine's resolver if None. Raises SettingsError."""
        self._settings = settings
        self._max_bytes = max_bytes
        self._user_agent = user_agent
        self._system = SystemLookUp()
        networks = tuple(map(ip_network, settings.allowed_networks))
        self._resolver = Resolver(look_up or self._system, networks, settings.allowed_hosts)
        self._tls = ssl.create_default_context()
        if settings.ca_file is not None:
            try:
                self._tls.load_verify_locations(settings.ca_file)
            except OSError as error:  # ssl.SSLError is one
                raise SettingsError(f"outbound.ca_file is {str(settings.ca_file)!r}: {error}") from error
        self._pace = Pace(settings.connect_s, settings.idle_s, settings.total_s)

    def close(self) -> None:
        self._system.close()

    async def check(self, url: str) -> None:
        """Raises RefusedUrl if a request to this URL would be refused now, and another OutboundError if its
        name cannot be resolved."""
        async with _within(self._pace.connect_s):
            await self._resolver.addresses(self._target(url).host)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Head:
        """The head of the answer, be it a redirect; the rest is read up to a cap and dropped. Raises
        OutboundError."""
        pace = replace(self._pace, total_s=timeout_s)
        answer: Head | None = None
        try:
            async with self._exchange("POST", self._target(url), headers, body, pace) as (exchange, head):
                answer = head
                await _drop(exchange)
        except Broken:
            if answer is None:
                raise
        assert answer is not None
        return answer

    async def fetch(self, url: str, to_path: Path) -> Fetched:
        """Writes what the URL leads to into this file; raises OutboundError, or OSError for the disk's
        faults. After an error there is no file."""
        if not self._settings.fetch:
            raise FetchingOff(
                "outbound fetching is off here (outbound.fetch): upload the audio to /v1/files and send its "
                "file_id, or a data: URL"
            )
        target = self._target(url)
        try:
            async with _within(self._pace.total_s):
                for _ in range(self._settings.max_redirects + 1):
                    async with self._exchange("GET", target, {}, b"", self._pace) as (exchange, head):
                        if head.status not in REDIRECTS:
                            return await _write(exchange, head, target, to_path, self._max_bytes)
                        target = self._redirect_target(target, head)
            raise BadAnswer(f"the URL leads to more than {self._settings.max_redirects} redirects")
        except BaseException:
            to_path.unlink(missing_ok=True)
            raise

    def _target(self, url: str) -> Target:
        return target_of(url, allow_http=self._settings.allow_http)

    def _redirect_target(self, here: Target, head: Head) -> Target:
        there = self._target(urljoin(here.url, head.headers.get("location", "")))
        if here.tls and not there.tls:
            raise RefusedUrl("a redirect leads from https to http")
        return there

    @asynccontextmanager
    async def _exchange(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes, pace: Pace
    ) -> AsyncIterator[tuple[Exchange, Head]]:
        fields = {
            "Host": target.authority,
            "User-Agent": self._user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **headers,
        }
        if method == "POST":
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        request = "\r\n".join([*lines, "", ""]).encode("ascii") + body
        async with (
            _within(pace.total_s),
            exchange_with(target, self._resolver, request, self._tls, pace) as exchange,
        ):
            yield exchange, await exchange.head()


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Broken(f"it took longer than {seconds:g} s") from None


async def _drop(exchange: Exchange) -> None:
    with suppress(OutboundError, TimeoutError):
        async with asyncio.timeout(DROP_S):
            async for _ in exchange.body(MAX_DROPPED_BYTES):
                pass


async def _write(exchange: Exchange, head: Head, target: Target, to_path: Path, max_bytes: int) -> Fetched:
    if not 200 <= head.status < 300:
        raise BadAnswer(f"{target.host} answered {head.status}")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise BadAnswer(f"{target.host} sent compressed bytes, which were not asked for")
    digest = hashlib.sha256()
    num_bytes = 0
    with to_path.open("wb") as file:
        async for piece in exchange.body(max_bytes):
            digest.update(piece)
            num_bytes += len(piece)
            await asyncio.to_thread(file.write, piece)
    return Fetched(num_bytes, digest.hexdigest(), head.headers.get("content-type", ""), target.url)
