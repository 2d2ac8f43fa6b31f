"""Requests to an upstream over sockets: whole answers, kept connections, and every way in which they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.torchserve import http_client
from gateway.torchserve.http_client import Answer, Broken, HttpClient, NoConnection, TooLong

MAX_BYTES = 100_000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


class Upstream:
    """Answers with the bytes of `reply`; an empty answer closes the connection, None is no answer."""

    def __init__(self, reply: Callable[[int], bytes | None]) -> None:
        self.reply = reply
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.tasks: list[asyncio.Task[None]] = []
        self.readers: list[asyncio.StreamReader] = []
        self.writers: list[asyncio.StreamWriter] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.readers.append(reader)
        self.writers.append(writer)
        number = 0
        while head := await _head(reader):
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(size))
            answer = self.reply(number)
            number += 1
            if answer == b"":
                break
            writer.write(answer or b"")
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


@asynccontextmanager
async def upstream(reply: Callable[[int], bytes | None]) -> AsyncIterator[Upstream]:
    made = Upstream(reply)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    opened = HttpClient(1.0, MAX_BYTES)
    yield opened
    opened.close()


async def ask(client: HttpClient, url: str, body: bytes = b"", timeout_s: float = 30) -> Answer:
    return await client.request("POST", url, {"X-Number": "7"}, body, timeout_s)


async def test_requests_use_one_connection_after_another(client: HttpClient) -> None:
    async with upstream(lambda number: OK if number % 2 else CHUNKED) as server:
        body = bytes(range(256)) * 4_000
        answers = [await ask(client, f"{server.url}/a/b?c=d", body) for _ in range(6)]
        assert answers == 3 * [Answer(503, b"hello"), Answer(200, b"hello")]
        assert server.connections == 1
    host = server.url.removeprefix("http://").encode()
    head = b"POST /a/b?c=d HTTP/1.1\r\nHost: " + host + b"\r\nX-Number: 7\r\nContent-Length: 1024000\r\n\r\n"
    assert set(server.requests) == {head + body}


async def test_requests_side_by_side_have_connections_of_their_own(client: HttpClient) -> None:
    async with upstream(lambda number: OK) as server:
        answers = await asyncio.gather(*(ask(client, server.url) for _ in range(20)))
        assert set(answers) == {Answer(200, b"hello")} and server.connections == 20
        await asyncio.gather(*(ask(client, server.url) for _ in range(20)))
        assert server.connections == 20


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
    ids=str,
)
async def test_an_answer_that_is_none_breaks_and_the_next_request_begins_anew(
    client: HttpClient, answer: bytes
) -> None:
    async with upstream(lambda number: answer) as server:
        with pytest.raises(Broken):
            await ask(client, server.url)
        server.reply = lambda number: OK
        assert await ask(client, server.url) == Answer(200, b"hello")
        assert server.connections == 2


LINE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = LINE_HEAD + b"6\r\n{...}\n\r\n"
END = b"0\r\n\r\n"


async def test_a_line_is_an_answer_and_its_connection_is_used_again_after_its_end(client: HttpClient) -> None:
    async with upstream(lambda number: LINE) as server:
        assert await ask(client, server.url) == Answer(200, b"{...}\n")
        server.reply = lambda number: OK
        assert await ask(client, server.url) == Answer(200, b"hello")
        assert server.connections == 2, "the first response has not ended"
        server.writers[0].write(END)
        await asyncio.sleep(0.05)
        first, second = await asyncio.gather(ask(client, server.url), ask(client, server.url))
        assert first == second == Answer(200, b"hello")
        assert server.connections == 2


async def test_a_line_with_its_end_keeps_the_connection(client: HttpClient) -> None:
    async with upstream(lambda number: LINE + END) as server:
        assert [await ask(client, server.url) for _ in range(3)] == [Answer(200, b"{...}\n")] * 3
        assert server.connections == 1


async def test_a_line_that_is_cut_off_breaks(client: HttpClient) -> None:
    async with upstream(lambda number: LINE[:-4]) as server:
        with pytest.raises(Broken):
            await ask(client, server.url, timeout_s=0.2)


async def test_a_response_that_never_ends_after_its_line_loses_its_connection(client: HttpClient) -> None:
    async with upstream(lambda number: LINE) as server:
        assert await ask(client, server.url, timeout_s=0.2) == Answer(200, b"{...}\n")
        async with asyncio.timeout(20):
            while not server.readers[0].at_eof():
                await asyncio.sleep(0.01)


HEAD = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "a body": HEAD + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 5_000_000,
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 5_000,
    "a body to the end": HEAD + b"\r\n" + b"x" * 5_000_000,
    "a head": HEAD + b"X-Header: " + b"x" * 5_000_000,
    "interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200_000,
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
async def test_an_answer_is_cut_off_as_it_grows_too_long(client: HttpClient, answer: bytes) -> None:
    async with upstream(lambda number: answer) as server:
        with pytest.raises(TooLong, match="more than 100000 bytes"):
            await ask(client, server.url)
        server.reply = lambda number: OK
        assert await ask(client, server.url) == Answer(200, b"hello")
        assert server.connections == 2


async def test_every_answer_on_a_connection_has_the_whole_room(client: HttpClient) -> None:
    large = HEAD + b"Content-Length: 90000\r\n\r\n" + b"x" * 90_000
    async with upstream(lambda number: large) as server:
        for _ in range(3):
            assert len((await ask(client, server.url)).body) == 90_000
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", OK + OK], ids=str
)
async def test_a_connection_that_should_end_is_not_used_again(client: HttpClient, answer: bytes) -> None:
    async with upstream(lambda number: answer) as server:
        for _ in range(2):
            assert (await ask(client, server.url)).status == 200
            await asyncio.sleep(0.05)
        assert server.connections == 2


async def test_a_connection_that_was_closed_while_idle_is_not_used(client: HttpClient) -> None:
    async with upstream(lambda number: OK) as server:
        await ask(client, server.url)
        [[connection]] = client._idle.values()
        connection.connection_lost(None)
        assert (await ask(client, server.url)).status == 200
        assert server.connections == 2


async def test_a_connection_grows_old(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(lambda number: OK) as server:
        await ask(client, server.url)
        monkeypatch.setattr(http_client, "KEEP_S", 0.0)
        await ask(client, server.url)
        assert server.connections == 2


async def test_no_answer_in_time_and_a_request_that_is_cancelled_close_their_connection(
    client: HttpClient,
) -> None:
    async with upstream(lambda number: None) as server:
        with pytest.raises(Broken, match=r"0\.05 s"):
            await ask(client, server.url, timeout_s=0.05)
        asking = asyncio.create_task(ask(client, server.url))
        while len(server.requests) < 2:
            await asyncio.sleep(0.005)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        server.reply = lambda number: OK
        assert (await ask(client, server.url)).body == b"hello"
        assert server.connections == 3


async def test_interim_answers_are_passed_over(client: HttpClient) -> None:
    async with upstream(lambda number: b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK) as server:
        assert await ask(client, server.url) == Answer(200, b"hello")


async def test_nobody_there(client: HttpClient) -> None:
    async with upstream(lambda number: OK) as server:
        pass
    with pytest.raises(NoConnection):
        await ask(client, server.url)
