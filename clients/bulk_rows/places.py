"""Files on this machine, and addresses such as `s3://bucket/talk.mp3` and `gs://…` through pyarrow."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

from whisper_client.audio_files import MEDIA_SUFFIXES
from whisper_client.errors import BadArgument

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

NO_PYARROW = "needs pyarrow: pip install -r requirements-bulk.txt"


def is_address(path: str) -> bool:
    return "://" in path


def beside(manifest: str, path: str) -> str:
    """`path` as the manifest means it: relative paths begin at the manifest."""
    if is_address(path):
        return path
    if is_address(manifest):
        return path if path.startswith("/") else posixpath.join(posixpath.dirname(manifest), path)
    return os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(manifest)), path))


def filesystem_of(address: str) -> tuple[FileSystem, str]:
    """pyarrow's filesystem of an address or a path, and the path in it; raises BadArgument."""
    try:
        from pyarrow import fs
    except ImportError:
        raise BadArgument(f"{address} {NO_PYARROW}") from None
    if not is_address(address):
        return fs.LocalFileSystem(), os.path.abspath(address)
    try:
        return cast("tuple[FileSystem, str]", fs.FileSystem.from_uri(address))
    except (OSError, ValueError) as error:
        raise BadArgument(f"cannot reach {address}: {error}") from error


def open_file(path: str) -> IO[bytes]:
    """The file for reading in binary; raises BadArgument."""
    try:
        if not is_address(path):
            return open(path, "rb")
        files, inside = filesystem_of(path)
        return cast("IO[bytes]", files.open_input_file(inside))
    except OSError as error:
        raise BadArgument(f"cannot read {path}: {error.strerror or error}") from error


def read_bytes(path: str) -> bytes:
    with open_file(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise BadArgument(f"cannot read {path}: {error.strerror or error}") from error


def list_media(address: str) -> Iterator[str]:
    """Addresses of the media files below a prefix, sorted, or the address itself if it is a file's."""
    from pyarrow.fs import FileSelector, FileType

    files, inside = filesystem_of(address)
    scheme = address.partition("://")[0]
    try:
        info: Any = files.get_file_info(inside)
        if info.type == FileType.File:
            found = [info]
        else:
            found = files.get_file_info(FileSelector(inside, recursive=True))
    except OSError as error:
        raise BadArgument(f"cannot list {address}: {error}") from error
    for path in sorted(each.path for each in found if each.type == FileType.File):
        if PurePosixPath(path).suffix.lower() in MEDIA_SUFFIXES:
            yield f"{scheme}://{path}"


def name_of(path: str) -> str:
    """The last part: a file's own name."""
    return PurePosixPath(path).name if is_address(path) else Path(path).name
