"""Which rows are read where."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from adapter import intake
from adapter.intake import IncomingRow, Intake
from asr.config import Limits
from asr.schema import DecodingOptions, Window
from asr.wire.messages import encode_window
from tests.adapter.worker import SPEC, wav

WINDOW = encode_window(Window(np.ones(1600, np.int16), 10, DecodingOptions(language="en")))
HEALTHZ = {"url_path": "healthz"}
MODEL = {"describe": "True"}
WINDOWS = {"url_path": "windows"}
FILE = {"content-type": "audio/wav"}
NOWHERE = {"url_path": "nowhere"}


def arrivals(*rows: tuple[Mapping[str, Any], bytes]) -> list[IncomingRow]:
    return [
        IncomingRow(index, f"id{index}", {"body": bytearray(body)}, headers)
        for index, (headers, body) in enumerate(rows)
    ]


def test_files_alone_are_read_in_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, str] = {}
    original = intake.read_row

    def read_row(row: Any, headers: Mapping[str, Any]) -> Any:
        threads[headers.get("url_path", headers.get("describe", "file"))] = threading.current_thread().name
        return original(row, headers)

    monkeypatch.setattr(intake, "read_row", read_row)
    rows = arrivals((FILE, wav()), (HEALTHZ, b""), (WINDOWS, WINDOW), (MODEL, b""), (NOWHERE, b"x"))
    jobs = Intake(Limits(), SPEC).open_jobs(rows, time.monotonic() + 60)
    assert [job.kind for job in jobs] == ["file", "healthz", "windows", "model", "unread"]
    assert [job.index for job in jobs] == [0, 1, 2, 3, 4]
    assert [job.error and job.error.status for job in jobs] == [None, None, None, None, 404]
    assert threads.pop("file").startswith("media")
    assert set(threads.values()) == {threading.current_thread().name}


def test_a_window_is_read_although_no_file_is_ready_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(intake.media, "decode", lambda *_: released.wait(30))
    try:
        rows = arrivals((FILE, wav()), (FILE, wav()), (FILE, wav()), (WINDOWS, WINDOW))
        *files, window = Intake(Limits(), SPEC).open_jobs(rows, time.monotonic() + 0.2)
        assert [job.error and job.error.status for job in files] == [503, 503, 503]
        assert (window.error, window.kind) == (None, "windows")
        assert window.session is not None
    finally:
        released.set()
