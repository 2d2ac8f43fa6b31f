"""The conditions of a measurement: machine, model, configuration, command."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from whisper_client.client import WhisperClient
from whisper_client.transport import is_loopback

CONFIG_DIR = Path(__file__).resolve().parents[2] / "config"
CONFIG_SUFFIXES = (".yaml", ".yml", ".properties", ".xml", ".toml", ".env")
SECRET_OPTION = "--token"


def surroundings(
    client: WhisperClient, command: str, config_dir: Path | None = None, model: str | None = None
) -> dict[str, Any]:
    """The command, the client's machine and the server. Nothing secret: an address cannot hold a login.

    The configuration is hashed where it is given, or where the server is on this machine, so that `config/`
    beside the clients is likely its own.
    """
    folder = config_dir or (CONFIG_DIR if is_loopback(client.url) else None)
    return {
        "command": command,
        "url": client.url,
        "server": client.describe(model),
        "config_sha256": config_hash(folder) if folder else None,
        "client_machine": machine(),
    }


def machine() -> dict[str, Any]:
    """This machine: processor, cores that this process may use, memory, graphics cards."""
    return {
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpu_names(),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def config_hash(folder: Path) -> str | None:
    """The first 12 digits of the SHA-256 over names and bytes of a folder's settings, None without any."""
    files = sorted(file for file in folder.glob("*") if file.suffix in CONFIG_SUFFIXES and file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12] if files else None


def shown_command(program: str, argv: Sequence[str]) -> str:
    """The command line as a person would type it, the token left out."""
    shown, hide = [f"clients/{program}.py"], False
    for argument in argv:
        joined = argument.startswith(f"{SECRET_OPTION}=")
        shown.append("…" if hide else f"{SECRET_OPTION}=…" if joined else shlex.quote(argument))
        hide = argument == SECRET_OPTION
    return " ".join(shown)


def summary(about: Mapping[str, Any]) -> str:
    """The surroundings as lines for a person."""
    here = about["client_machine"]
    parts = [here["cpu"], f"{here['cpus']} cores", f"{here['memory_gib']} GiB", *here["gpus"]]
    return "\n".join(
        f"{name:<16}{value}"
        for name, value in (
            ("machine", ", ".join(map(str, parts))),
            ("server", about["url"]),
            ("model", model_line(about["server"])),
            ("config", about["config_sha256"] or "not known"),
            ("date", about["started_at"]),
            ("command", about["command"]),
        )
    )


def model_line(description: Mapping[str, Any] | None) -> str:
    """The model as its server describes it, on one line."""
    if not description:
        return "the server does not say"
    name = description.get("name") or description.get("id") or "unnamed"
    more = [f"{key} {description[key]}" for key in ("sha256", "runs_on") if description.get(key)]
    return f"{name}" + (f" ({', '.join(more)})" if more else "")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu_names() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if not done.returncode else []
