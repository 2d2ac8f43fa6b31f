"""Contents in a bucket, S3's or another one that fsspec knows."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]

from asr.errors import Overloaded
from gateway.jobs.files.contents import Contents
from gateway.settings_errors import SettingsError

log = logging.getLogger(__name__)

WRITTEN_AT = ("LastModified", "mtime", "updated", "last_modified", "created")  # as the file systems call it


class BucketContents(Contents):
    """`URL/ID`. An object is there whole or not at all, and once it is written it stays."""

    def __init__(self, url: str, incoming: Path) -> None:
        """Raises SettingsError for a scheme that nothing installed here knows."""
        super().__init__(incoming)
        try:
            self._bucket, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise SettingsError(f"jobs.content is {url!r}, which cannot be used: {error}") from error
        self._root = root.rstrip("/")

    def make(self) -> None:
        super().make()
        probe = f"probe-{uuid.uuid4().hex}"
        with _answering():
            self._bucket.pipe_file(self._path(probe), b"")
        self.remove(probe)

    def adopt(self, incoming: Path, name: str) -> None:
        with _answering():
            self._bucket.put_file(str(incoming), self._path(name))

    def fetch(self, name: str, target: Path) -> Path:
        with _answering():
            self._bucket.get_file(self._path(name), str(target))
        return target

    def read(self, name: str, position: int, num_bytes: int) -> bytes:
        with _answering():
            found: bytes = self._bucket.cat_file(self._path(name), start=position, end=position + num_bytes)
        return found

    def remove(self, *names: str) -> None:
        """What the bucket does not remove now, `forgotten` finds later."""
        for name in names:
            try:
                self._bucket.rm_file(self._path(name))
            except FileNotFoundError:
                continue
            except Exception as error:
                log.warning("the bucket keeps %s for now: %s", name, error)

    def _finish(self, unfinished: Path, name: str) -> None:
        self.adopt(unfinished, name)

    def _older_than(self, before: float) -> Iterator[str]:
        try:
            with _answering():
                found = self._bucket.ls(self._root, detail=True)
        except FileNotFoundError:  # there is no object
            return
        for one in found:
            if one["type"] == "file" and _written_at(one) < before:
                yield one["name"].rpartition("/")[2]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def _answering() -> Iterator[None]:
    """Runs the block; raises FileNotFoundError, and Overloaded for other errors of the bucket's library."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        log.error("the bucket of the files does not answer: %s", error)
        raise Overloaded("the files are out of reach now; try again later") from error


def _written_at(info: Mapping[str, Any]) -> float:
    """Unix seconds; infinity for an object that does not say."""
    moment = next((info[name] for name in WRITTEN_AT if info.get(name) is not None), None)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return moment.timestamp()
    return float("inf") if moment is None else float(moment)
