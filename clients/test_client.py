#!/usr/bin/env python3
"""Transcribes files: the text goes to stdout, everything else to stderr.

Exit code: 0 when every file was transcribed, 1 when the server failed, 2 when a file or option is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whisper_client.client import WhisperClient
from whisper_client.command_line import (
    add_request_arguments,
    add_server_arguments,
    make_client,
    make_parser,
    report_error,
    request_options,
    run,
)
from whisper_client.errors import ClientError, NoServer
from whisper_client.events import TEXT_DELTA, TEXT_DONE, ServerEvent
from whisper_client.form import Upload, read_upload

STDIN = "-"
SUFFIXES = {
    "json": ".json",
    "verbose_json": ".json",
    "text": ".txt",
    "srt": ".srt",
    "vtt": ".vtt",
    "tsv": ".tsv",
}
EXAMPLES = """\
  python clients/test_client.py speech.wav
  python clients/test_client.py --stream --language hi long.mp3
  python clients/test_client.py --format srt --out subtitles/ *.mp4
  python clients/test_client.py --option beam_size=5 --option long_form=sequential speech.wav
  ffmpeg -i film.mkv -f wav - | python clients/test_client.py -
  WHISPER_TOKEN=… python clients/test_client.py --openai https://api.example.com/v1 speech.wav"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    options = request_options(arguments)
    targets = output_paths(arguments.files, arguments.format, arguments.out) if arguments.out else {}
    code = 0
    with make_client(arguments) as client:
        for name in arguments.files:
            try:
                upload = _upload(name)
                if arguments.stream:
                    print_stream(client, upload, options, as_json=arguments.format != "text")
                else:
                    transcribe(client, upload, options, targets.get(name))
            except NoServer:
                raise  # the other files would fare no better
            except ClientError as error:
                code = max(code, report_error(error, name))
    return code


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, checked before anything is sent."""
    parser = make_parser("Transcribe audio or video files with a Whisper server.", EXAMPLES)
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio or video; - is stdin")
    parser.add_argument("--stream", action="store_true", help="print the text while the server decodes")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write one file per input there, not to stdout"
    )
    add_request_arguments(parser, default_format="text")
    add_server_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.stream and arguments.format not in ("text", "json"):
        parser.error("--stream prints text, or events with --format json")
    if arguments.stream and arguments.out:
        parser.error("--stream prints to stdout; leave out --stream or --out")
    if arguments.files.count(STDIN) > 1:
        parser.error("- (stdin) can be read only once")
    for name in arguments.files:
        if name != STDIN and (not Path(name).exists() or Path(name).is_dir()):
            parser.error(f"no file {name}")
    return arguments


def transcribe(client: WhisperClient, upload: Upload, options: dict[str, Any], target: Path | None) -> None:
    """Sends one upload and writes its transcript to `target`, or to stdout."""
    reply = client.transcribe(upload, **options).raise_for_status()
    tries = f", {reply.tries} tries" if reply.tries > 1 else ""
    print(f"{upload.name}: {reply.seconds:.2f} s{tries}", file=sys.stderr)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(reply.body)
        print(f"wrote {target}", file=sys.stderr)
        return
    text = reply.body.decode("utf-8", "replace")
    print(text, end="" if text.endswith("\n") else "\n", flush=True)


def print_stream(client: WhisperClient, upload: Upload, options: dict[str, Any], *, as_json: bool) -> None:
    """Prints deltas as they come, or every event as a line of JSON."""
    deltas = False
    for event in client.stream(upload, **{**options, "response_format": "json"}):
        if as_json:
            print(
                json.dumps(event.data or {"type": event.type, "text": event.text}, ensure_ascii=False),
                flush=True,
            )
            continue
        text = _printed_text(event, deltas)
        deltas = deltas or event.type == TEXT_DELTA
        print(text, end="", flush=True)
    if not as_json:
        print()


def output_paths(names: Sequence[str], response_format: str, folder: Path) -> dict[str, Path]:
    """Where each input's transcript goes; inputs that share a stem keep their suffix, then get a number."""
    suffix = SUFFIXES.get(response_format, ".txt")
    paths: dict[str, Path] = {}
    for name in dict.fromkeys(names):
        source = Path("stdin" if name == STDIN else name)
        stems = [
            source.stem,
            source.name,
            *(f"{source.name}-{number}" for number in range(2, len(names) + 2)),
        ]
        free = (folder / f"{stem}{suffix}" for stem in stems)
        paths[name] = next(path for path in free if path not in paths.values())
    return paths


def _upload(name: str) -> Upload:
    if name != STDIN:
        return read_upload(Path(name))
    return read_upload(sys.stdin.buffer.read())


def _printed_text(event: ServerEvent, after_deltas: bool) -> str:
    """What an event adds to the text: the final one repeats it all, so it counts only where no delta came."""
    if event.type == TEXT_DELTA:
        return str(event.data.get("delta", ""))
    if event.type == TEXT_DONE and not after_deltas:
        return str(event.data.get("text", ""))
    return ""


if __name__ == "__main__":
    sys.exit(run(main))
