"""Debian's nginx on free ports with the committed template, in front of two gateways."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.serve.addresses import free_ports
from tests.processes import started

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "deploy" / "nginx" / "whisper.conf.template"
START_S = 60.0

AROUND = """\
{user}
daemon off;
worker_processes 2;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 512; }}
http {{
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include whisper.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running nginx."""

    url: str
    certificate: Path  # the client's trust anchor
    directory: Path


def nginx_program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def filled_in(template: str, values: Mapping[str, str]) -> str:
    """`template` with every ${NAME} replaced; KeyError for one without a value."""
    return re.sub(r"\$\{([A-Z_]+)\}", lambda match: values[match[1]], template)


@contextlib.contextmanager
def proxy(directory: Path, gateways: Sequence[int]) -> Iterator[Proxy]:
    """nginx over the gateways on these ports, ended at the end."""
    certificate, key = self_signed(directory)
    port = free_ports(1)[0]
    values = {
        "LISTEN": f"127.0.0.1:{port}",
        "SERVER_NAME": "localhost",
        "TLS_CERT": str(certificate),
        "TLS_KEY": str(key),
        "GATEWAY_A": f"127.0.0.1:{gateways[0]}",
        "GATEWAY_B": f"127.0.0.1:{gateways[1]}",
    }
    (directory / "whisper.conf").write_text(filled_in(TEMPLATE.read_text(), values))
    # Started as root, its workers would change to a user who cannot read the test's directory.
    (directory / "nginx.conf").write_text(AROUND.format(user="user root;" if os.geteuid() == 0 else ""))
    program = nginx_program()
    assert program
    command = [program, "-p", str(directory), "-c", "nginx.conf", "-e", "error.log"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr
    with running(command, port):
        yield Proxy(f"https://127.0.0.1:{port}", certificate, directory)


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on `port`, asked to end at the end."""
    with started(command, cwd=ROOT, env=dict(environ) if environ else None) as process:
        try:
            wait_for_port(process, port)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} does not listen on {port}")


def standin_command(name: str, port: int) -> list[str]:
    return [sys.executable, "-m", "tests.deploy.standin_gateway", name, str(port)]


def self_signed(directory: Path) -> tuple[Path, Path]:
    """Certificate and key for 127.0.0.1, by openssl."""
    certificate, key = directory / "tls.crt", directory / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    ssl.create_default_context(cafile=str(certificate))  # it can be read
    return certificate, key
