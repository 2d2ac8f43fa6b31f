"""OpenAI's own store: a checkpoint resumed where it broke off, checked, put in place in one step."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO

import requests

from model_sources.files import DownloadError, Progress, Unavailable, check_space, sha256_of, sole_writer

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
HASTY_TIMEOUT_S = (5, 15)  # the same where another source follows
NETWORK_BYTES = 1 << 16  # lost at most with a broken connection


class _Interrupted(Exception):
    """The connection broke; another attempt may go on from here."""


def place(name: str, directory: Path) -> Path:
    """The file of checkpoint `name`."""
    return directory / CHECKPOINTS[name][1]


def fetch(
    name: str,
    directory: Path,
    *,
    base_url: str = BASE_URL,
    progress: Progress | None = None,
    hasty: bool = False,
) -> Path:
    """Path of the verified checkpoint `name`, downloaded if it is not there; raises DownloadError.

    hasty: a connection that brings nothing is the last one.
    """
    sha256, file_name = CHECKPOINTS[name]
    url = f"{base_url.rstrip('/')}/{sha256}/{file_name}"
    return download(url, directory / file_name, sha256, progress, hasty=hasty)


def download(
    url: str, target: Path, sha256: str, progress: Progress | None = None, *, hasty: bool = False
) -> Path:
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
        with partial.open("ab") as stream, sole_writer(partial):
            try:
                _fetch(url, stream, progress or (lambda done, total: None), hasty)
            finally:
                if partial.stat().st_size == 0:
                    partial.unlink()  # nothing to go on from
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


def _fetch(url: str, stream: IO[bytes], progress: Progress, hasty: bool) -> None:
    """Appends the missing rest of `url` to `stream`, over several connections if need be."""
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(2**attempt, 10))
        before = stream.tell()
        try:
            _fetch_rest(url, stream, progress, HASTY_TIMEOUT_S if hasty else TIMEOUT_S)
            return
        except _Interrupted as error:
            reason = str(error)
            if hasty and stream.tell() <= before:
                break
    kept = stream.tell()
    rest = f"; {kept / 1e6:.1f} MB are kept, run the command again to go on" if kept else ""
    raise Unavailable(f"downloading {url} failed: {reason}{rest}")


def _fetch_rest(url: str, stream: IO[bytes], progress: Progress, timeout_s: tuple[float, float]) -> None:
    """One connection: from the end of `stream` to the end of the file."""
    start = stream.tell()
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout_s) as response:
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
                raise Unavailable(
                    f"downloading {url} failed: HTTP {response.status_code} {response.reason}: check the "
                    f"address of the store (--base-url, WHISPER_MODELS_URL)"
                )
            check_space(Path(stream.name).parent, total - start)
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


def _one_line(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"[:200]
