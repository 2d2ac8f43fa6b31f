"""fuzz/: every harness accepts what is good, refuses nothing by accident, and sees what is wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from fuzz import media, multipart, request_options
from fuzz.__main__ import TARGETS, escaped, outcome

LOG = """\
#2\tINITED cov: 120 ft: 200 corp: 34/60Kb exec/s: 0 rss: 210Mb
#1024\tpulse  cov: 122 ft: 231 corp: 41/61Kb lim: 20000 exec/s: 170 rss: 215Mb
Done 1794 runs in 11 second(s)
"""
CRASH = """\
#900\tNEW    cov: 80 ft: 90 corp: 7/1Kb exec/s: 0 rss: 100Mb
 === Uncaught Python exception: ===
ValueError: of the code under test
==12== ERROR: libFuzzer: fuzz target exited
"""


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_passes_its_check(name: str) -> None:
    target: Any = importlib.import_module(f"fuzz.{name}")
    seeds = list(target.seeds())
    assert seeds
    for seed in seeds:
        assert len(seed) <= target.MAX_BYTES
        target.check(seed)
        target.check(seed[: len(seed) // 2])
    assert target.WORDS


def raising(*_: object, **__: object) -> None:
    raise KeyError("a bug")


def test_an_exception_that_is_no_refusal_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media.media, "decode", raising)
    monkeypatch.setattr(request_options, "parse_options", raising)
    monkeypatch.setattr(multipart, "received_form", raising)
    for target in (media, request_options, multipart):
        with pytest.raises(KeyError):
            target.check(next(iter(target.seeds())))


def test_a_file_left_behind_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(multipart, "SPOOL", tmp_path)
    (tmp_path / "upload-1").touch()
    with pytest.raises(AssertionError, match="left"):
        multipart.check(next(iter(multipart.seeds())))


def test_the_fields_of_an_input_are_read_as_a_form_or_as_json() -> None:
    assert request_options.fields(b"a=1\na=2\nb:=[1]\nc:=nonsense") == {
        "a": ["1", "2"],
        "b": [1],
        "c": "nonsense",
    }


def test_the_numbers_of_a_run_are_read_from_its_log(tmp_path: Path) -> None:
    good = outcome("media", tmp_path, LOG, 12.0, 0)
    assert (good.executions, good.coverage, good.corpus, good.findings) == (1794, 122, 41, ())
    (tmp_path / "crash-0123").touch()
    bad = outcome("media", tmp_path, CRASH, 3.0, 77)
    assert bad.executions == 900
    assert bad.findings == (str(tmp_path / "crash-0123"),)
    assert bad.reason == "ValueError: of the code under test"


def test_words_are_spelled_as_dictionaries_want_them() -> None:
    assert escaped(b'a"\\\n') == "a\\x22\\x5c\\x0a"
