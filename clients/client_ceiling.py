#!/usr/bin/env python3
"""Measures how many requests a second the load programs can send here, against a server that does nothing.

The server answers every upload at once with the same transcript, in a process of its own. Where a real server
comes near these figures, the measurement is of the client: run several clients on several machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bulk_request import main as bulk_request
from load_kit.mix import silence
from whisper_client.command_line import make_parser, positive_number, run

EXAMPLES = """\
  python clients/client_ceiling.py
  python clients/client_ceiling.py --clip-seconds 30 --concurrency-range 1,8,64 --duration 10"""
ANSWER = b'{"text": "nothing was heard", "language": "english", "segments": []}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads requests from one connection and answers each with the same bytes."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            left = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            while left:
                left -= len(await reader.read(min(left, 1 << 20)) or b"x" * left)
            writer.write(HEAD + ANSWER)
            await writer.drain()
    writer.close()


def serve(port: multiprocessing.SimpleQueue[int]) -> None:
    """Answers on a free port, which it tells, until it is ended."""

    async def forever() -> None:
        server = await asyncio.start_server(answer_all, "127.0.0.1", 0, limit=1 << 20)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser(
        "Measure the load programs' own ceiling, against a server that does nothing.", EXAMPLES
    )
    parser.add_argument("--concurrency-range", default="1:64:4x", metavar="RANGE")
    parser.add_argument(
        "--duration", type=positive_number, default=5.0, metavar="S", help="seconds per level"
    )
    parser.add_argument(
        "--clip-seconds", type=positive_number, default=3.0, metavar="S", help="of each upload"
    )
    arguments = parser.parse_args(argv)
    context = multiprocessing.get_context("spawn")
    port = context.SimpleQueue()
    server = context.Process(target=serve, args=(port,), daemon=True)
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            clip = silence(Path(folder) / "clip.wav", arguments.clip_seconds)
            load = ["--concurrency-range", arguments.concurrency_range, "--duration", f"{arguments.duration}"]
            return bulk_request([str(clip), "--url", f"http://127.0.0.1:{port.get()}/v1", *load])
    finally:
        server.terminate()
        server.join(5)


if __name__ == "__main__":
    sys.exit(run(main))
