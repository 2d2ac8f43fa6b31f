"""The Dockerfile: what its installing step asks for, and that the build context has it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scripts.maintenance.prove_image import allowed, parse
from tests.deploy.images import ROOT, STEPS, image_copies


def installed(folder: Path, **arguments: str) -> list[str]:
    """The words that the step gives scripts.environment, with these build arguments."""
    python = folder / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    (step,) = (rest for word, rest in STEPS if word == "RUN" and "scripts.environment" in rest)
    defaults = dict(rest.split("=", 1) for word, rest in STEPS if word == "ARG")
    environ = os.environ | defaults | arguments | {"PATH": f"{folder}:{os.environ['PATH']}"}
    ran = subprocess.run(["/bin/sh", "-c", step], env=environ, capture_output=True, text=True, check=True)
    return ran.stdout.split("\n")[:-1]


SERVER = ["-m", "scripts.environment", "--cpu", "requirements.txt", "model-archiver/requirements.txt"]
EXTRAS = [
    "requirements-gateway.txt",
    "requirements-ctranslate2.txt",
    "requirements-families.txt",
    "requirements-bulk.txt",
]


@pytest.mark.parametrize("extras", [[], EXTRAS[:1], EXTRAS])
def test_extras_are_installed_with_the_rest(tmp_path: Path, extras: list[str]) -> None:
    assert installed(tmp_path, EXTRAS=" ".join(extras)) == [*SERVER, *extras]


def test_what_may_be_installed_is_in_the_image_with_its_lock() -> None:
    for file in [*SERVER[3:], *EXTRAS]:
        for wanted in (file, file.removesuffix(".txt") + ".lock"):
            assert wanted in image_copies() and allowed(wanted) and (ROOT / wanted).is_file()


def test_what_follows_the_dashes_is_for_the_entry_point() -> None:
    given = parse(["base", "work", "--bind", "/a", "--bind", "/b", "--", "demo", "--port", "9080"])
    assert (given.base, given.work, given.bind) == (Path("base"), Path("work"), [Path("/a"), Path("/b")])
    assert given.arguments == ["demo", "--port", "9080"]
    assert parse(["base", "work"]).arguments == []
