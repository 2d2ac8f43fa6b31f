#!/usr/bin/env python3
"""Downloads the sound of a web page or of a direct link, as it is stored there; prints the file's path.

Exit code: 0 when it is on disk, 1 when the download failed, 2 when an argument is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from whisper_client.command_line import make_parser, positive_number, run
from whisper_client.errors import BadArgument, ClientError

FOLDER = Path("downloads")
# the title cut by bytes, not characters: file systems allow 255 bytes, and Devanagari takes three each
NAME_TEMPLATE = "%(title).150B [%(id).60B].%(ext)s"
MAX_MEGABYTES = 150.0  # what the server takes
EXAMPLES = """\
  python clients/download_audio.py https://example.org/talk.mp3
  python clients/download_audio.py --max-megabytes 500 --out talks/ https://example.org/video/42
  python clients/download_audio.py --playlist https://example.org/album
  python clients/test_client.py "$(python clients/download_audio.py https://example.org/talk.mp3)\""""


class DownloadFailed(ClientError):
    """Nothing usable came; the message names the address and the reason."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    for path in download(arguments.url, arguments.out, arguments.max_megabytes, playlist=arguments.playlist):
        print(path)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("Download the best audio of a page (yt-dlp) without converting it.", EXAMPLES)
    parser.add_argument("url", metavar="URL", help="a page that yt-dlp knows, or a link to a media file")
    parser.add_argument(
        "--out", type=Path, default=FOLDER, metavar="DIR", help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--max-megabytes",
        type=positive_number,
        default=MAX_MEGABYTES,
        metavar="N",
        help="stop above this size (default: %(default)g, what the server takes)",
    )
    parser.add_argument(
        "--playlist", action="store_true", help="all entries of a playlist, not only the one named"
    )
    return parser.parse_args(argv)


def download(url: str, folder: Path, max_megabytes: float, *, playlist: bool = False) -> list[Path]:
    """Paths of the files on disk; raises BadArgument or DownloadFailed."""
    host = urlsplit(url).hostname
    if urlsplit(url).scheme not in ("http", "https") or not host:
        raise BadArgument(f"{url!r} is no web address: it must begin with https:// or http://")
    import yt_dlp  # 1 s, so that --help and a bad address do not wait for it

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        watch = _Watch(bar, int(max_megabytes * 1_000_000))
        try:
            with yt_dlp.YoutubeDL(_settings(folder, watch, playlist)) as downloader:
                found = downloader.extract_info(url, download=True)
        except yt_dlp.utils.DownloadError as error:
            raise DownloadFailed(_reason(error, host)) from error
    paths = [Path(path) for path in _paths(found or {})]
    if not paths:
        raise DownloadFailed(f"{url} offers nothing to download (live streams are left out)")
    if not (audible := [path for path in paths if _keep_if_audio(path)]):
        raise DownloadFailed(f"what {url} gave is no audio: check the address, it may be a page without any")
    return audible


class _Watch:
    """Follows a download: moves the bar, and ends the download above the size limit."""

    def __init__(self, bar: Progress, max_bytes: int) -> None:
        self._bar, self._max_bytes = bar, max_bytes
        self._task = bar.add_task("connecting", total=None)

    def __call__(self, state: Mapping[str, Any]) -> None:
        done = int(state.get("downloaded_bytes") or 0)
        total = state.get("total_bytes")
        self._bar.update(self._task, description=Path(state["filename"]).name, completed=done, total=total)
        if max(done, total or 0) > self._max_bytes:
            self._remove(state)
            raise DownloadFailed(
                f"the file is above {self._max_bytes / 1_000_000:g} MB: give a larger --max-megabytes,"
                " or another link"
            )

    @staticmethod
    def _remove(state: Mapping[str, Any]) -> None:
        for key in ("tmpfilename", "filename"):
            if state.get(key):
                Path(state[key]).unlink(missing_ok=True)


class _Silent:
    """A logger: yt-dlp's errors arrive as exceptions, its warnings go to stderr."""

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr)

    def error(self, message: str) -> None: ...


def _settings(folder: Path, watch: _Watch, playlist: bool) -> dict[str, Any]:
    """Options of yt-dlp: its best audio as stored, no converter, nothing run or written besides."""
    from yt_dlp.utils import match_filter_func

    return {
        "format": "bestaudio/best",
        "paths": {"home": str(folder)},
        "outtmpl": NAME_TEMPLATE,
        "windowsfilenames": True,  # no path separators or reserved characters, but any script
        "noplaylist": not playlist,
        "playlist_items": None if playlist else "1",
        "match_filter": match_filter_func("!is_live"),  # these never end
        "postprocessors": [],
        "fixup": "never",  # would need ffmpeg; the server reads the file as it is
        "hls_prefer_native": True,
        "cachedir": False,
        "socket_timeout": 20,
        "retries": 3,
        "extractor_retries": 1,
        "noprogress": True,
        "color": {"stdout": "no_color", "stderr": "no_color"},
        "logger": _Silent(),
        "progress_hooks": [watch],
    }


def _paths(found: Mapping[str, Any]) -> Iterator[str]:
    for entry in found.get("entries") or ():
        yield from _paths(entry or {})
    for item in found.get("requested_downloads") or ():
        if item.get("filepath") and Path(item["filepath"]).is_file():
            yield item["filepath"]


def _keep_if_audio(path: Path) -> bool:
    """Whether the file has sound, as the server will read it; removed when not. yt-dlp takes any bytes."""
    import av

    try:
        with av.open(str(path)) as container:
            has_audio = bool(container.streams.audio)
    except (av.FFmpegError, ValueError):
        has_audio = False
    if not has_audio:
        path.unlink()
    return has_audio


def _reason(error: Any, host: str) -> str:
    """One line for yt-dlp's DownloadError; what it wraps tells an unreachable host from a refusal."""
    from yt_dlp.networking.exceptions import HTTPError, TransportError

    inner = error.exc_info[1] if getattr(error, "exc_info", None) else None
    for cause in (inner, getattr(inner, "cause", None)):
        if isinstance(cause, HTTPError):
            return f"{host} answered {cause.status}: check the address"
        if isinstance(cause, TransportError):
            return f"cannot reach {host}: check the network, or fetch the file elsewhere ({cause.msg})"
    first = str(error).removeprefix("ERROR: ").splitlines()[0]
    return first.partition("; please report this issue")[0]


if __name__ == "__main__":
    sys.exit(run(main))
