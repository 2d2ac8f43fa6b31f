"""One TorchServe: its Java process, started without the Python launcher, and everything below it.

`torchserve --foreground` leaves Java behind when it is stopped, and ignores SIGTERM as a container's first
process. Java started directly obeys SIGTERM; it gets its own process group, so that its leftovers are found.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from scripts.serve.serve_error import ServeError
from scripts.serve.settings import Paths

STOP_SECONDS = 20.0  # TorchServe ends its workers in about three
SOCKET_PATH_BYTES = 107  # longest path of a Unix socket; workers listen at TEMP/.ts.sock.9000
PR_SET_PDEATHSIG = 1
SPIN_COUNT = "3000"  # some tens of microseconds
NOT_FOR_WORKERS = ("TS_", "GATEWAY_", "WHISPER_TOKEN")  # TorchServe's own configuration; the gateway's keys
SECRET_NAME = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?(_|$)", re.IGNORECASE)
SECRET_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]+@")  # a proxy's or a database's password


@dataclass(frozen=True, slots=True)
class Launch:
    """Java, properties and paths of one start of TorchServe."""

    java: Path
    properties: Mapping[str, str]
    paths: Paths

    def command(self, temp_dir: Path) -> list[str]:
        """The command line of Java; `vmargs` is applied here because only the Python launcher would."""
        home = torchserve_home()
        return [
            str(self.java),
            f"-Dmodel_server_home={home}",
            f"-Djava.io.tmpdir={temp_dir}",
            f"-Dlog4j.configurationFile=file://{self.paths.config_dir / 'log4j2.xml'}",
            *self.properties.get("vmargs", "").split(),
            "-cp", f"{home / 'ts' / 'frontend'}/*",
            "org.pytorch.serve.ModelServer",
            "--python", sys.executable,
            "-f", str(self.paths.properties_file),
            "-s", str(self.paths.model_store),
            "-ncs",
        ]  # fmt: skip


class TorchServe:
    """A running server. `stop` is safe to call at any time and more than once."""

    def __init__(self, launch: Launch, output: int | IO[bytes] | None = None) -> None:
        """Starts Java; its output goes to ours, or to `output`. Raises ServeError."""
        self.paths = launch.paths
        self.temp_dir = _private_temp_dir()
        self.log_offsets = {name: _size(self.paths.log_dir / name) for name in ("model.log", "server.log")}
        try:
            self._java = subprocess.Popen(
                launch.command(self.temp_dir),
                cwd=self.paths.run_dir,  # where the key file goes
                env=_environment(self.temp_dir, self.paths.log_dir),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us alone, and the group is Java and its workers
                preexec_fn=end_with_parent() if sys.platform == "linux" else None,
            )
        except OSError as error:
            shutil.rmtree(self.temp_dir, ignore_errors=True)
            raise ServeError(f"{launch.java} did not start: {error}") from error

    @property
    def pid(self) -> int:
        return self._java.pid

    @property
    def returncode(self) -> int | None:
        """Java's exit status, None while it runs."""
        return self._java.poll()

    def wait(self, timeout_s: float) -> None:
        """Returns when Java has ended, after `timeout_s` at the latest."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._java.wait(timeout_s)

    def has_workers(self) -> bool:
        """Whether a process below Java runs: a worker, loaded or loading."""
        return any(pid != self._java.pid for pid in group_members(self._java.pid))

    def log_text(self, name: str) -> str:
        """The text that this run has written to a file of the log directory."""
        file = self.paths.log_dir / name
        offset = self.log_offsets.get(name, 0)
        try:
            with file.open("rb") as stream:
                stream.seek(offset if _size(file) >= offset else 0)  # rolled over: from its start
                return stream.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def stop(self) -> None:
        """Ends Java and its workers, removes the temporary directory; returns when nothing is left."""
        if self._java.poll() is None:
            self._java.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._java.wait(STOP_SECONDS)
        # Workers notice a dead frontend only when they read: the rest of the group is killed now.
        deadline = time.monotonic() + STOP_SECONDS
        while group_members(self._java.pid) and time.monotonic() < deadline:
            try:
                os.killpg(self._java.pid, signal.SIGKILL)
            except ProcessLookupError:
                break
            self._java.poll()
            time.sleep(0.05)
        self._java.wait(STOP_SECONDS)
        shutil.rmtree(self.temp_dir, ignore_errors=True)


def torchserve_home() -> Path:
    """The directory that holds TorchServe's package; raises ServeError."""
    spec = importlib.util.find_spec("ts")
    if spec is None or not spec.submodule_search_locations:
        raise ServeError("torchserve is not installed: run 'pip install -r requirements.txt'")
    return Path(spec.submodule_search_locations[0]).resolve().parent


def group_members(group: int) -> list[int]:
    """Process ids of a process group, zombies left out."""
    members = []
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError):  # ended in between
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def _environment(temp_dir: Path, log_dir: Path) -> dict[str, str]:
    """Ours, without what would change TorchServe behind the configuration's back, and without secrets:
    workers decode what strangers send, and need none. TorchServe's own keys are in its key file."""
    kept = {name: value for name, value in os.environ.items() if not _is_withheld(name, value)}
    kept.pop("PYTHONPATH", None)
    temp = str(temp_dir)
    kept.update(TEMP=temp, TMP=temp, TMPDIR=temp, LOG_LOCATION=str(log_dir), METRICS_LOCATION=str(log_dir))
    # Waiting threads spin for a moment, then sleep. OpenMP's default spins for milliseconds, which takes the
    # cores from the gateway and its media processes. Sleeping at once costs a batch a quarter more on quiet
    # cores. docs/performance.md has the figures.
    if "OMP_WAIT_POLICY" not in kept:
        kept.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    kept["PYTHONUNBUFFERED"] = "1"  # log lines of a worker appear when they are written
    return kept


def _is_withheld(name: str, value: str) -> bool:
    is_secret = SECRET_NAME.search(name) or SECRET_IN_URL.search(value)
    return name.startswith(NOT_FOR_WORKERS) or bool(is_secret)


def _private_temp_dir() -> Path:
    """A new directory for the unpacked archive and the workers' sockets, its path short enough for them."""
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # mkdtemp makes a name of its own
        if len(os.fsencode(base)) + len("/whisper-12345678/.ts.sock.65535") <= SOCKET_PATH_BYTES:
            try:
                return Path(tempfile.mkdtemp(prefix="whisper-", dir=base))
            except OSError as error:
                raise ServeError(
                    f"cannot write to {base} ({error.strerror}): set TMPDIR to a writable one"
                ) from error
    raise ServeError("TMPDIR is too long for the workers' sockets: set it to a short path")


def end_with_parent() -> Callable[[], None]:
    """Asks the kernel to send SIGTERM to the child when we die, even by SIGKILL."""
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # died in between
            os._exit(1)

    return ask


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
