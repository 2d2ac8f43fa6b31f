"""What a media process may not do: outlive the gateway, use more than its share, leave files behind.

The kernel enforces it. It contains accidents and resource bombs; against code that takes the process over,
run the gateway in a container or under a service manager that confines it as a whole.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
MAX_OPEN_FILES = 64


def stay_below(parent: int) -> None:
    """Ends this process with the gateway and not before: the gateway alone handles signals to the group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the gateway ended before this process could watch it
        sys.exit(1)


def bound(memory_bytes: int, file_bytes: int) -> None:
    """Sets limits that hold from now on; raises SystemExit if they are exceeded already."""
    if (used := address_space_bytes()) > memory_bytes:
        sys.exit(
            f"media.memory_mb is {memory_bytes >> 20}, but a media process needs {used >> 20} MB "
            "before it has read anything"
        )
    _set(resource.RLIMIT_AS, memory_bytes)
    _set(resource.RLIMIT_FSIZE, file_bytes)  # Python ignores SIGXFSZ: the write fails
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)


def bound_cpu(seconds: float) -> None:
    """Lets SIGXCPU end the process after `seconds` more of processor time; the kernel counts all of it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1  # whole seconds
    resource.setrlimit(
        resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard)
    )


def address_space_bytes() -> int:
    """The bytes that RLIMIT_AS counts; 0 if the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _set(kind: int, value: int) -> None:
    """Sets both limits, so that nobody can raise them again, and never above today's hard limit."""
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
