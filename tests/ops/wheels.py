"""Wheels for tests of what pip does with them."""

from __future__ import annotations

import zipfile
from hashlib import sha256
from pathlib import Path


def wheel(directory: Path, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> str:
    """A wheel of nothing but its metadata; its SHA-256."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{name}-{version}-{tag}.whl"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        archive.writestr(
            f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return sha256(file.read_bytes()).hexdigest()
