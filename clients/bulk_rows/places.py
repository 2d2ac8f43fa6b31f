"""Files on this machine, and addresses such as `s3://bucket/talk.mp3` and `gs://…` through pyarrow."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

from whisper_client.audio_files import MEDIA_SUFFIXES
from whisper_client.errors import BadArgument

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

NO_PYARROW = "needs pyarrow: pip install -r requirements-bulk.txt"


def is_address(path: str) -> bool:
    return "://" in path


def split_query(address: str) -> tuple[str, str]:
    """The address, and what its filesystem needs: `?region=…&endpoint_override=…`, or nothing."""
    body, mark, query = address.rpartition("?")
    return (body, f"?{query}") if mark and "=" in query and is_address(body) else (address, "")


def beside(manifest: str, path: str) -> str:
    """`path` as the manifest means it: relative paths begin at the manifest."""
    if is_address(path):
        return path
    if not is_address(manifest):
        return os.path.abspath(os.path.join(os.path.dirname(manifest), path))
    body, query = split_query(manifest)
    return path if path.startswith("/") else posixpath.join(posixpath.dirname(body), path) + query


def filesystem_of(place: str) -> tuple[FileSystem, str]:
    """pyarrow's filesystem of an address or a path, and the path in it; raises BadArgument."""
    try:
        from pyarrow import fs
    except ImportError:
        raise BadArgument(f"{place} {NO_PYARROW}") from None
    if not is_address(place):
        return fs.LocalFileSystem(), os.path.abspath(place)
    body, query = split_query(place)
    scheme, _, rest = body.partition("://")
    bucket, _, key = rest.partition("/")
    files, root = _filesystem(f"{scheme}://{bucket or '/'}{query}")
    return files, posixpath.join(root, key)  # as it is: a name may hold what an address may not


@lru_cache
def _filesystem(root: str) -> tuple[FileSystem, str]:
    from pyarrow import fs

    try:
        return cast("tuple[FileSystem, str]", fs.FileSystem.from_uri(root))
    except (OSError, ValueError) as error:
        raise BadArgument(f"cannot reach {root.partition('?')[0]}: {error}") from error


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
    """Addresses of the media files below a prefix, sorted; raises BadArgument."""
    files, inside = filesystem_of(address)
    from pyarrow.fs import FileSelector, FileType

    body, query = split_query(address)
    try:
        info: Any = files.get_file_info(inside)
        is_file = info.type == FileType.File
        found = [info] if is_file else files.get_file_info(FileSelector(inside, recursive=True))
    except OSError as error:
        raise BadArgument(f"cannot list {address}: {error}") from error
    for path in sorted(each.path for each in found if each.type == FileType.File):
        if is_file or PurePosixPath(path).suffix.lower() in MEDIA_SUFFIXES:
            yield f"{body.removesuffix('/')}{path.removeprefix(inside.removesuffix('/'))}{query}"


def name_of(path: str) -> str:
    """The last part: a file's own name."""
    return os.path.basename(split_query(path)[0])
