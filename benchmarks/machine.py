"""Where and with what a number was measured: no number is published without it."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

DATE_FORMAT = "%Y-%m-%d %H:%M UTC"
TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
PACKAGES = (
    "torch",
    "openai-whisper",
    "ctranslate2",
    "faster-whisper",
    "pywhispercpp",
    "torchserve",
    "numpy",
)


def conditions() -> dict[str, Any]:
    """Machine, versions, date, command and how busy the machine was when the run began."""
    cpu = _cpuinfo()
    flags = set(cpu.get("flags", "").split())
    return {
        "cpu": cpu.get("model name", platform.processor()),
        "family": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "flags": [flag for flag in TELLING_FLAGS if flag in flags],
        "missing": [flag for flag in TELLING_FLAGS if flag not in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "date": datetime.now(UTC).strftime(DATE_FORMAT),
        "command": " ".join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def conditions_text(found: dict[str, Any]) -> str:
    """The conditions as two Markdown lines."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items() if number)
    return (
        f"{found['date']}, `{found['command']}`. {found['cpu']} (family/model {found['family']}), "
        f"{found['cores']} cores, {found['memory_gib']} GiB; has {', '.join(found['flags'])}; "
        f"lacks {', '.join(found['missing']) or 'none of those looked for'}. "
        f"Python {found['python']}, {versions}. Load average when it began: {found['load_average_before']}."
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor's entries; empty where /proc is not."""
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
