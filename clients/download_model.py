#!/usr/bin/env python3
"""Download an OpenAI Whisper checkpoint: resumed where it broke off, checked, put in place in one step."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import requests

BASE_URL = "https://openaipublic.azureedge.net/main/whisper/models"

# SHA-256 and file name of each checkpoint: the path of its URL (openai-whisper 20250625, whisper/__init__.py)
CHECKPOINTS = {
    "tiny.en": ("d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03", "tiny.en.pt"),
    "tiny": ("65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9", "tiny.pt"),
    "base.en": ("25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead", "base.en.pt"),
    "base": ("ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e", "base.pt"),
    "small.en": ("f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872", "small.en.pt"),
    "small": ("9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794", "small.pt"),
    "medium.en": ("d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f", "medium.en.pt"),
    "medium": ("345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1", "medium.pt"),
    "large-v1": ("e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a", "large-v1.pt"),
    "large-v2": ("81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524", "large-v2.pt"),
    "large-v3": ("e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb", "large-v3.pt"),
    "large": ("e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb", "large-v3.pt"),
    "large-v3-turbo": (
        "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
        "large-v3-turbo.pt",
    ),
    "turbo": ("aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a", "large-v3-turbo.pt"),
}

ATTEMPTS = 5  # connections, each resuming where the one before broke off
TIMEOUT_S = (15, 60)  # to connect, between two chunks
NETWORK_BYTES = 1 << 16  # what a broken connection may cost
CHUNK_BYTES = 1 << 20
SPARE_BYTES = 200_000_000  # left free on the disk

EPILOG = """\
examples:
  download_model.py base.en
  download_model.py large-v3-turbo --directory /data/models
  download_model.py --list

Interrupted? Run it again: it goes on where it stopped.
"""

Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0: unknown)


class DownloadError(Exception):
    """The checkpoint is not there; the message is one line that says what to do."""


class _Interrupted(Exception):
    """The connection broke; another attempt may go on from here."""


def download_model(
    name: str, directory: Path, *, base_url: str = BASE_URL, progress: Progress | None = None
) -> Path:
    """Path of the verified checkpoint `name`, downloaded if it is not there; raises DownloadError."""
    if name not in CHECKPOINTS:
        raise DownloadError(f"unknown model {name!r}: choose one of {', '.join(CHECKPOINTS)}")
    sha256, file_name = CHECKPOINTS[name]
    return download(f"{base_url.rstrip('/')}/{sha256}/{file_name}", directory / file_name, sha256, progress)


def download(url: str, target: Path, sha256: str, progress: Progress | None = None) -> Path:
    """`target` with the content of `url`, whose SHA-256 is checked before the file gets its name."""
    if target.exists():
        if not target.is_file():
            raise DownloadError(f"{target} is in the way: it is not a file")
        if sha256_of(target) != sha256:
            raise DownloadError(
                f"{target} is not the published checkpoint (SHA-256 differs): remove it to download "
                f"it again, or pass its path if it is your own"
            )
        return target
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _sole_writer(partial) as stream:
            _fetch(url, stream, progress or (lambda done, total: None))
            if (found := sha256_of(partial)) != sha256:
                partial.unlink()
                raise DownloadError(
                    f"{url} has SHA-256 {found[:12]}…, expected {sha256[:12]}…: "
                    f"the partial file was removed, try again"
                )
            os.fsync(stream.fileno())
            partial.replace(target)
    except OSError as error:
        raise DownloadError(f"cannot write {partial}: {error.strerror or error}") from error
    return target


def sha256_of(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _sole_writer(partial: Path) -> Iterator[IO[bytes]]:
    """The partial file opened for appending, refused while another process writes it."""
    with partial.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DownloadError(f"another process is downloading {partial}: wait for it") from error
        try:
            yield stream
        finally:
            if partial.exists() and partial.stat().st_size == 0:
                partial.unlink()  # nothing to go on from


def _fetch(url: str, stream: IO[bytes], progress: Progress) -> None:
    """Appends what is missing of `url` to `stream`, over as many connections as it takes."""
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(2**attempt, 10))
        before = stream.tell()
        try:
            _fetch_rest(url, stream, progress)
            return
        except _Interrupted as error:
            reason = str(error)
            if stream.tell() > before:
                continue
    kept = stream.tell()
    raise DownloadError(
        f"downloading {url} failed: {reason}; {kept / 1e6:.1f} MB are kept, run the command again to go on"
    )


def _fetch_rest(url: str, stream: IO[bytes], progress: Progress) -> None:
    """One connection: from the end of `stream` to the end of the file."""
    start = stream.tell()
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            total = _total_bytes(response, start)
            if response.status_code == 416 and total == start:
                return  # everything was there already
            if response.status_code in (200, 416):  # no resume here, or more than there is: from the start
                stream.truncate(0)
                stream.seek(0)
                start = 0
            if response.status_code == 416:
                raise _Interrupted("the server refused to resume")
            if response.status_code >= 500:
                raise _Interrupted(f"HTTP {response.status_code} {response.reason}")
            if response.status_code not in (200, 206):
                raise DownloadError(
                    f"downloading {url} failed: HTTP {response.status_code} {response.reason}: check the "
                    f"address of the store (--base-url, WHISPER_MODELS_URL)"
                )
            _check_space(Path(stream.name), total - start)
            done = start
            for chunk in response.iter_content(NETWORK_BYTES):
                stream.write(chunk)
                done += len(chunk)
                progress(done, total)
            stream.flush()
            if total and done != total:
                raise _Interrupted(f"the connection closed after {done} of {total} bytes")
    except requests.exceptions.RequestException as error:
        stream.flush()
        raise _Interrupted(_one_line(error)) from error


def _total_bytes(response: requests.Response, start: int) -> int:
    """Size of the whole file, 0 where the server does not say."""
    content_range = response.headers.get("Content-Range", "")
    size = content_range.rpartition("/")[2]
    if size.isdigit():
        return int(size)
    length = response.headers.get("Content-Length", "")
    return int(length) + (start if response.status_code == 206 else 0) if length.isdigit() else 0


def _check_space(partial: Path, needed: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if needed > free - SPARE_BYTES:
        raise DownloadError(
            f"no room in {partial.parent}: {needed / 1e9:.1f} GB to download, {free / 1e9:.1f} GB free"
        )


def _one_line(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"[:200]


class ProgressBar:
    """A line on stderr that shows how far a download is; a line every 10 % where stderr is no terminal."""

    def __init__(self, name: str, stream: IO[str] | None = None) -> None:
        self._name = name
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._shown = -1
        self._started = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._first is None:
            self._first = done
        step = done * 100 // total if total else done // 10_000_000
        if step == self._shown or (not self._live and step // 10 == self._shown // 10):
            return
        self._shown = step
        speed = (done - self._first) / max(time.monotonic() - self._started, 1e-3) / 1e6
        share = f"[{'#' * (step * 30 // 100):<30}] {step:3d} %" if total else ""
        end = "\r" if self._live and done != total else "\n"
        whole = f" of {total / 1e6:.1f}" if total else ""
        print(f"{self._name} {share} {done / 1e6:.1f}{whole} MB, {speed:.1f} MB/s ",
              end=end, file=self._stream, flush=True)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 the checkpoint is there and correct, 1 it is not, 2 a bad option."""
    parser = argparse.ArgumentParser(
        description="Download an OpenAI Whisper checkpoint into whisper-models/ and print its path.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a name from --list")
    parser.add_argument(
        "--directory", type=Path, default=Path(__file__).resolve().parent.parent / "whisper-models"
    )
    parser.add_argument(
        "--base-url",
        default=os.environ.get("WHISPER_MODELS_URL") or BASE_URL,
        help="a mirror of OpenAI's store; the SHA-256 is checked all the same [WHISPER_MODELS_URL]",
    )
    parser.add_argument("--list", action="store_true", help="print the known names")
    args = parser.parse_args(argv)
    if args.list:
        with suppress(BrokenPipeError):  # the reader (head, less) has left
            print("\n".join(CHECKPOINTS), flush=True)
            return 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if not args.name:
        parser.error("NAME is missing; --list shows the known ones")
    try:
        print(
            download_model(args.name, args.directory, base_url=args.base_url, progress=ProgressBar(args.name))
        )
    except DownloadError as error:
        print(f"download_model.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndownload_model.py: stopped; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
