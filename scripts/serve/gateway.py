"""The gateway beside TorchServe: its address, its process, its orderly end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.serve.addresses import Address
from scripts.serve.arguments import ServeOptions
from scripts.serve.gateway_models import GatewayModels
from scripts.serve.local import open_local
from scripts.serve.restarts import Restarts
from scripts.serve.serve_error import ServeError
from scripts.serve.stop_signals import held
from scripts.serve.torchserve import end_with_parent

if TYPE_CHECKING:
    from gateway.settings import Settings

POLL_S = 0.25
ASK_S = 30.0
READY = "/health/ready"
STOP_SECONDS = 10.0  # beyond its own time to drain


@dataclass(frozen=True, slots=True)
class GatewayLaunch:
    """Everything that a start of the gateway is made of."""

    root: Path
    environment: Mapping[str, str]
    address: Address
    drain_s: float
    needs_key: bool


def gateway_launch(
    options: ServeOptions,
    properties: Mapping[str, str],
    key_file: Path | None,
    root: Path,
    models: GatewayModels,
) -> GatewayLaunch:
    """The gateway's settings with TorchServe's addresses and the command line's; raises ServeError."""
    inference, management = (
        Address.parse(key, properties[key]).url for key in ("inference_address", "management_address")
    )
    chosen = {
        "GATEWAY_SERVER__HOST": options.gateway_host,
        "GATEWAY_SERVER__PORT": options.gateway_port,
        "GATEWAY_UPSTREAM__URLS": json.dumps([inference]),
        "GATEWAY_UPSTREAM__MANAGEMENT_URLS": json.dumps([management]),
        "GATEWAY_UPSTREAM__KEY_FILE": key_file,
    }  # fmt: skip
    given = {name: str(value) for name, value in chosen.items() if value is not None}
    environment = {**os.environ, **given}
    aliases = _settings(environment).upstream.aliases
    environment |= models.variables(aliases)
    settings = _settings(environment)
    if settings.jobs.enabled and settings.jobs.directory is None:
        directory = options.log_dir.parent / "jobs" / f"gateway-{settings.server.port}"
        environment["GATEWAY_JOBS__DIRECTORY"] = str(directory)  # one for each gateway of this machine
    scheme = "https" if settings.server.tls_cert else "http"
    return GatewayLaunch(
        root=root,
        environment=environment,
        address=Address("gateway", scheme, settings.server.host, settings.server.port),
        drain_s=settings.server.drain_s,
        needs_key=bool(settings.access.keys or settings.access.keys_file),
    )


def _settings(environment: Mapping[str, str]) -> Settings:
    # late: they need the requirements
    from gateway.process.command_line import check_exposure, check_spool_dir
    from gateway.settings import SettingsError, load_settings

    try:
        settings = load_settings(environment)
        # Errors that would end it at its start are reported before a model is fetched and loaded.
        check_exposure(settings)
        check_spool_dir(settings.media.spool_dir)
        return settings
    except SettingsError as error:
        raise ServeError(f"the gateway cannot start: {error}") from error


def _start(launch: GatewayLaunch) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway"],
        cwd=launch.root,
        env=dict(launch.environment),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches serve.sh alone, which drains
        preexec_fn=end_with_parent() if sys.platform == "linux" else None,
    )


class GatewayProcess:
    """A running gateway. `stop` is safe to call at any time and more than once."""

    def __init__(self, launch: GatewayLaunch) -> None:
        self.launch = launch
        self._restarts = Restarts()
        self._process = _start(launch)

    @property
    def url(self) -> str:
        return self.launch.address.url

    @property
    def returncode(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def check_alive(self) -> None:
        """Raises ServeError if it ended; it has said why in its own line."""
        if self.returncode is not None:
            raise ServeError(f"the gateway ended with status {self.returncode}: its last line says why")

    def keep_alive(self) -> None:
        """Starts it again if it ended; raises ServeError if it ends again and again."""
        if self.returncode is None:
            return
        if not self._restarts.another():
            self.check_alive()
        self._end_group()
        with held():
            self._process = _start(self.launch)

    def wait_until_ready(self, timeout_s: float, check: Callable[[], None]) -> None:
        """Returns once its canary passed; raises ServeError, also from `check`, when it cannot."""
        deadline = time.monotonic() + timeout_s
        last = "no answer yet"
        while time.monotonic() < deadline:
            self.check_alive()
            check()
            try:
                open_local(self.url + READY, ASK_S).close()
                return
            except urllib.error.HTTPError as error:
                last = f"HTTP {error.code} {' '.join(error.read().decode('utf-8', 'replace').split())[:200]}"
            except OSError as error:
                last = str(error)
            time.sleep(POLL_S)
        raise ServeError(f"the gateway is not ready after {timeout_s:.0f} s: {last}")

    def stop(self) -> None:
        """Lets what runs finish within its time, then ends it."""
        if self.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self.launch.drain_s + STOP_SECONDS)
        self._end_group()
        self._process.wait(STOP_SECONDS)

    def _end_group(self) -> None:
        """Ends its media processes, even if it has died."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
