"""An environment with requirements files installed: `python -m scripts.environment FILE…` prints its Python.

Plain standard library: it runs before anything is installed. It installs the lock beside each file, by hash,
and only torch by its version. A stamp per file, named after what it asks for, makes the second run a no-op.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from scripts.requirements import UNLOCKED, lock_of, locked, pins

ROOT = Path(__file__).resolve().parents[1]
STAMPS = "whisper-requirements"
NEVER = "WHISPER_INSTALL"  # "no": take the environment as it is, as an image does
BUILD_TOOL = "setuptools"  # openai-whisper comes as source only
# pip would fetch build tools by itself, newest and unhashed: it is given the locked one instead.
BY_HASH = ("--no-deps", "--require-hashes", "--no-build-isolation")
NEEDED_BYTES = {
    True: 12_000_000_000,
    False: 4_000_000_000,
}  # with a GPU, without: wheels and their contents


class EnvironmentFailure(Exception):
    """The environment cannot be made; the message is one line that says what to do."""


def ensure_environment(files: Sequence[Path], gpu: bool) -> Path:
    """The Python of an environment in which `files` are installed; made in .venv when none is active."""
    python = active_python() or make_venv(ROOT / ".venv")
    if os.environ.get(NEVER) == "no":
        return python
    stamps = _stamps_dir(python)
    for file in files:
        stamp = stamps / fingerprint(file)
        if stamp.exists():
            continue
        _check_room(stamps, gpu)
        print(f"installing {file.relative_to(ROOT)} into {stamps.parents[1]}", file=sys.stderr, flush=True)
        install(python, file)
        stamps.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    return python


def not_installed(files: Sequence[Path]) -> list[str]:
    """Those of `files` that `ensure_environment` would install, by name; nothing is done."""
    if os.environ.get(NEVER) == "no":
        return []
    python = active_python() or ROOT / ".venv" / "bin" / "python"
    stamps = _stamps_dir(python)
    return [str(file.relative_to(ROOT)) for file in files if not (stamps / fingerprint(file)).exists()]


def active_python() -> Path | None:
    """The running interpreter if it belongs to an environment, else None."""
    in_environment = sys.prefix != sys.base_prefix or os.environ.get("CONDA_PREFIX") == sys.prefix
    return Path(sys.executable) if in_environment else None


def make_venv(directory: Path) -> Path:
    """Python of the virtual environment `directory`, made if it is not there."""
    python = directory / "bin" / "python"
    if _runs_pip(python):
        return python
    print(f"making {directory} with Python {sys.version.split()[0]}", file=sys.stderr, flush=True)
    try:
        venv.create(directory, symlinks=True, clear=True)
    except OSError as error:
        raise EnvironmentFailure(f"making {directory} failed: {error}") from error
    # Debian's Python may come without ensurepip, and a machine without pip: either one is enough.
    ensurepip = [str(python), "-m", "ensurepip", "--default-pip"]
    own_pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "pip"]
    for command in (ensurepip, own_pip):
        if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
            return python
    shutil.rmtree(directory, ignore_errors=True)
    raise EnvironmentFailure(
        f"{sys.executable} has neither ensurepip nor pip: install python3-venv or python3-pip"
    )


def _runs_pip(python: Path) -> bool:
    """Whether an environment is whole: one that was interrupted while it was made has no pip."""
    if not python.exists():
        return False
    return subprocess.run([str(python), "-c", "import pip"], capture_output=True).returncode == 0


def has_gpu() -> bool:
    """Whether this machine shows an NVIDIA device."""
    return bool(glob.glob("/dev/nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def fingerprint(file: Path) -> str:
    """Name of a stamp: changes whenever `file` or its lock asks for something else."""
    digest = hashlib.sha256(file.read_bytes() + _lock(file).read_bytes()).hexdigest()[:16]
    return f"{file.parent.name if file.parent != ROOT else 'root'}-{file.name}-{digest}"


def install(python: Path, file: Path) -> None:
    """Installs the lock of `file`, hashes checked, and torch by its version if `file` pins it.

    torch comes last: its needs are installed by then, and pip adds only the CUDA libraries of a CUDA build.
    """
    lock = _lock(file)
    check_lock(file)
    if tool := locked(lock).get(BUILD_TOOL):
        with tempfile.TemporaryDirectory() as work:
            first = Path(work) / "build.txt"
            first.write_text(f"{tool}\n", encoding="utf-8")
            _pip(python, [*BY_HASH, "-r", str(first)])
    _pip(python, [*BY_HASH, "-r", str(lock)])
    if version := pins(file).get(UNLOCKED):
        _pip(python, [f"{UNLOCKED}=={version}"])


def check_lock(file: Path) -> None:
    """Raises EnvironmentFailure if the lock of `file` is not made from it."""
    held = {**pins(_lock(file)), **pins(_lock(ROOT / "requirements.txt"))}
    for name, version in pins(file).items():
        if name != UNLOCKED and held.get(name) != version:
            raise EnvironmentFailure(
                f"{file.relative_to(ROOT)} pins {name}=={version}, its lock has {held.get(name, 'none')}: "
                f"run scripts/lock, or undo the change"
            )


def _lock(file: Path) -> Path:
    lock = lock_of(file)
    if not lock.is_file():
        raise EnvironmentFailure(f"{file} has no lock beside it: install it with `pip install -r {file}`")
    return lock


def _pip(python: Path, arguments: list[str]) -> None:
    """Runs pip and shows its downloads on stderr: stdout carries this program's answer."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    falsified = False
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            falsified = falsified or "DO NOT MATCH THE HASHES" in line
            if not line.startswith("Requirement already satisfied"):
                print(line, end="", file=sys.stderr, flush=True)
    if pip.returncode != 0 and falsified:
        raise EnvironmentFailure(
            "a download is not the file that the lock names, pip says above which; it was not installed. "
            "Find out why the package index has another one before you go on"
        )
    if pip.returncode != 0:
        raise EnvironmentFailure(
            f"pip failed with status {pip.returncode}, its reason is above: "
            f"check the network and the room on the disk, then run this again"
        )


def _stamps_dir(python: Path) -> Path:
    """Inside the environment, so that removing it removes the stamps."""
    return python.parent.parent / "share" / STAMPS


def _check_room(stamps: Path, gpu: bool) -> None:
    free = shutil.disk_usage(stamps.parents[1]).free
    if free < NEEDED_BYTES[gpu]:
        raise EnvironmentFailure(
            f"{stamps.parents[1]} has {free / 1e9:.1f} GB free, the requirements need "
            f"{NEEDED_BYTES[gpu] / 1e9:.0f}: free some space"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 with the interpreter's path on stdout, 1 with one line on stderr."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--gpu", action="store_true", default=None, help="install for a GPU that is not here now"
    )
    kind.add_argument("--cpu", dest="gpu", action="store_false", help="install for CPUs only")
    args = parser.parse_args(argv)
    try:
        gpu = has_gpu() if args.gpu is None else args.gpu
        print(ensure_environment([file.resolve() for file in args.files], gpu))
    except (EnvironmentFailure, OSError) as error:
        print(f"environment: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
