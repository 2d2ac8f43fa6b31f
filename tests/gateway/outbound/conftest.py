"""Servers that answer byte for byte, certificates, and a resolver that says what a test wants."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.outbound.client import OutboundClient
from gateway.outbound.outbound_errors import OutboundError
from gateway.settings_outgoing import OutboundSettings

MAX_BYTES = 200_000
NAME = "files.example"

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """A server and what it was asked."""

    port: int
    requests: list[bytes] = field(default_factory=list)


@dataclass
class Names:
    """A resolver: each look-up takes the next answer, and the last one for ever."""

    answers: dict[str, list[list[str]]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str) -> Collection[str]:
        self.asked.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass(frozen=True)
class Certificate:
    """Of `files.example`, signed by itself."""

    file: Path
    key: Path


def plain(reply: bytes) -> Reply:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    return send


@asynccontextmanager
async def site(reply: Reply, tls: Certificate | None = None, host: str = "127.0.0.1") -> AsyncIterator[Site]:
    tasks: set[asyncio.Task[None]] = set()
    made = Site(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            made.requests.append(head + await reader.readexactly(size))
            await reply(writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.file, tls.key)
    server = await asyncio.start_server(accept, host, 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def to(site: Site, path: str = "/a.wav", scheme: str = "http") -> str:
    return f"{scheme}://{NAME}:{site.port}{path}"


def moved(url: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()


async def refused(
    client: OutboundClient, url: str, path: Path, error: type[OutboundError], words: str
) -> None:
    began = time.monotonic()
    with pytest.raises(error, match=words):
        await client.fetch(url, path)
    assert not path.exists()
    assert time.monotonic() - began < 20


OpenClient = Callable[..., OutboundClient]


@pytest.fixture
def open_client() -> Iterator[OpenClient]:
    """A client: open_client({name: addresses}, allowed_networks=…). Loopback is allowed, for the servers."""
    opened: list[OutboundClient] = []

    def make(names: dict[str, list[list[str]]] | Names | None = None, **settings: object) -> OutboundClient:
        values = {
            "fetch": True,
            "allow_http": True,
            "allowed_networks": ("127.0.0.0/8", "::1/128"),
        } | settings
        look_up = names if isinstance(names, Names) else Names(names or {NAME: [["127.0.0.1"]]})
        client = OutboundClient(OutboundSettings.model_validate(values), "test/1", MAX_BYTES, look_up)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """A server until the test ends: await serve(b"HTTP/1.1 200 OK…")."""
    async with AsyncExitStack() as stack:

        async def start(
            reply: Reply | bytes, tls: Certificate | None = None, host: str = "127.0.0.1"
        ) -> Site:
            answer = plain(reply) if isinstance(reply, bytes) else reply
            return await stack.enter_async_context(site(answer, tls, host))

        yield start


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    folder = tmp_path_factory.mktemp("certificate")
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "1", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
         "-keyout", made.key, "-out", made.file],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return made
