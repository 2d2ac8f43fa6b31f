"""Running the repository's commands as a caller does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import processes

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", processes.MARK, processes.TEST)
HELD_DOWN = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # the processor, for the whole run
PIP = ("PIP_", "REQUESTS_", "SSL_")


def caller_environment(**extra: str) -> dict[str, str]:
    """A caller's shell with this test's environment active and no WHISPER_ variable."""
    kept = {key: value for key, value in os.environ.items() if key in KEPT + HELD_DOWN or key.startswith(PIP)}
    return {**kept, "VIRTUAL_ENV": sys.prefix, **extra}


def serve(
    *arguments: str, cwd: Path = ROOT, timeout_s: float = 120, **environ: str
) -> subprocess.CompletedProcess[str]:
    """serve.sh run to its end."""
    return subprocess.run(
        [str(ROOT / "serve.sh"), *arguments],
        cwd=cwd,
        env=caller_environment(**environ),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""
