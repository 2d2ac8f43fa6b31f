#!/usr/bin/env python3
"""Transcribes sound while it is spoken: the microphone, a file at real time, or samples on stdin.

Every turn becomes a line on stdout; on a terminal its words appear as they settle. Ctrl-C ends the
listening, and what was said before it is still answered.

Exit code: 0 when every turn was answered, 1 when the server failed, 2 when a file or an argument is wrong,
130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whisper_client.captions import Captions, srt, vtt
from whisper_client.command_line import (
    INTERRUPTED,
    add_server_arguments,
    check_writable,
    make_parser,
    run,
    token_of,
)
from whisper_client.live_sound import Paced, file_chunks, microphone_chunks, stdin_chunks
from whisper_client.live_stream import LiveStream, session_of
from whisper_client.live_turns import Event, Turn
from whisper_client.realtime import DEFAULT_LIVE_URL, realtime_url
from whisper_client.retry import RetryPolicy

STDIN = "-"
DELAYS = ("minimal", "low", "medium", "high", "xhigh")
TIMEOUT_S = 60.0
EXAMPLES = """\
  python clients/live.py                            # the microphone; Ctrl-C ends
  python clients/live.py talk.mp3 --srt talk.srt    # a file, as if it were spoken now
  ffmpeg -i film.mkv -f s16le -ar 24000 -ac 1 - | python clients/live.py -
  ffmpeg -f pulse -i default -f s16le -ar 24000 -ac 1 - | python clients/live.py - --language de
  WHISPER_TOKEN=… python clients/live.py --url https://whisper.example.com/v1 talk.mp3 --json"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    for path in (arguments.srt, arguments.vtt):
        check_writable(path)
    stream = LiveStream(
        realtime_url(arguments.openai or arguments.url),
        token_of(arguments),
        session_of(arguments.language, arguments.model, arguments.delay),
        timeout_s=arguments.timeout,
        policy=RetryPolicy(retries=arguments.retries),
        say=_say,
    )
    source = _source(arguments)
    captions = Captions(sys.stdout)

    def take(event: Event) -> None:
        if arguments.json:
            print(json.dumps(event, ensure_ascii=False), flush=True)
        else:
            captions.show(stream.turns.all)

    try:
        with _stopped_by_signals(stream) as signals:
            stream.run(source, take)
    finally:  # the turns so far are worth having after a failure too
        captions.close()
        _write(arguments, stream.turns.all)
    failures = [turn.failure for turn in stream.turns.all if turn.failure]
    for failure in failures:
        _say(f"error: a turn failed: {failure}")
    return INTERRUPTED if signals else int(bool(failures))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("Transcribe sound while it is spoken.", EXAMPLES)
    parser.add_argument(
        "source", nargs="?", metavar="FILE",
        help="audio or video, sent at real time; - is stdin, bare 16-bit samples at 24 kHz, mono"
        " (default: the microphone)",
    )  # fmt: skip
    parser.add_argument("--device", metavar="NAME", help="microphone, by name or number")
    parser.add_argument("--srt", type=Path, metavar="FILE", help="write subtitles there at the end")
    parser.add_argument("--vtt", type=Path, metavar="FILE", help="the same as WebVTT")
    parser.add_argument("--json", action="store_true", help="print the server's events, one a line")
    parser.add_argument("--language", metavar="CODE", help="spoken language (default: detected, each turn)")
    parser.add_argument("--model", metavar="NAME", help="for servers with several")
    parser.add_argument("--delay", choices=DELAYS, help="how soon words settle (default: the server's, low)")
    add_server_arguments(parser, DEFAULT_LIVE_URL, "address of the gateway, which has /v1/realtime")
    parser.set_defaults(timeout=TIMEOUT_S)
    arguments = parser.parse_args(argv)
    source = arguments.source
    if source not in (None, STDIN) and not Path(source).is_file():
        parser.error(f"no file {source}")
    if arguments.device and source is not None:
        parser.error("--device is for the microphone; leave out it or FILE")
    return arguments


def _source(arguments: argparse.Namespace) -> Iterable[bytes]:
    if arguments.source is None:
        chunks = microphone_chunks(arguments.device)
        _say("listening; Ctrl-C ends")
        return chunks
    if arguments.source == STDIN:
        return Paced(stdin_chunks(sys.stdin.buffer))
    return Paced(file_chunks(Path(arguments.source)))


@contextmanager
def _stopped_by_signals(stream: LiveStream) -> Iterator[list[int]]:
    """The first Ctrl-C or SIGTERM ends the listening, a second one the program. Yields the signals."""
    received: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(number, signal.default_int_handler)
        stream.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(arguments: argparse.Namespace, turns: Sequence[Turn]) -> None:
    for path, make in ((arguments.srt, srt), (arguments.vtt, vtt)):
        if path is not None:
            path.write_text(make(turns), "utf-8")
            _say(f"wrote {path}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(main))
