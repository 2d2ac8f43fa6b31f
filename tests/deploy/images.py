"""What the Dockerfile says that the deployment files must agree with."""

from __future__ import annotations

from pathlib import Path

from scripts.maintenance.prove_image import instructions

ROOT = Path(__file__).resolve().parents[2]
STEPS = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def image_user() -> str:
    """USER of the last stage, as in "10001:10001"."""
    return [rest for word, rest in STEPS if word == "USER"][-1]


def image_directories() -> set[str]:
    """Directories that belong to that user: everything else is root's."""
    run = next(rest for word, rest in STEPS if word == "RUN" and "install -d -o whisper" in rest)
    return set(run.rpartition("-g whisper")[2].split())


def image_copies() -> set[str]:
    """What the image takes from the repository."""
    return {
        word.rstrip("/")
        for kind, rest in STEPS
        if kind == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
