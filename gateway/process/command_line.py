"""`python -m gateway`: reads the arguments, refuses unusable settings, starts the server."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.settings import ServerSettings, Settings, SettingsError, load_settings
from gateway.settings_errors import to_yaml

log = logging.getLogger(__name__)

MISTAKE = 2  # exit status for unusable settings

DESCRIPTION = """\
OpenAI's audio API in front of TorchServe: http://127.0.0.1:8000/ unless the settings say otherwise.

Settings are in config/gateway.yaml, where each has its reason, or in the file that GATEWAY_CONFIG names. A
variable wins over the file, an argument over both."""

EXAMPLES = """\
examples:
  python -m gateway                                   as config/gateway.yaml says
  python -m gateway --port 0                          on any free port; the line "listening" names it
  GATEWAY_UPSTREAM__URLS=http://a:8080,http://b:8080 python -m gateway
  python -m gateway --print-config                    the settings that hold, without secrets
  python -m gateway.access.keys new alice             an API key, for access.keys_file

SIGTERM or Ctrl-C: not ready at once, what runs is finished within server.drain_s, then exit status 0."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit status."""
    options = _parser().parse_args(arguments)
    server: dict[str, Any] = {
        name: value for name in ("host", "port") if (value := getattr(options, name)) is not None
    }
    try:
        settings = load_settings(**({"server": server} if server else {}))
        if options.print_config:
            print(to_yaml(settings), end="")
            return 0
        check_exposure(settings)
        check_spool_dir(settings.media.spool_dir)
        _serve(settings)
    except SettingsError as error:
        print("\n".join(f"gateway: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return MISTAKE
    return 0


def check_exposure(settings: Settings) -> None:
    """Raises SettingsError if strangers could call without a key."""
    server = settings.server
    if not needs_key(settings) and not server.allow_without_keys and not is_loopback(server):
        raise SettingsError(
            f"server.host is {server.host!r} and no API key is configured: must be 127.0.0.1, or set "
            "access.keys_file, or server.allow_without_keys where something before it checks who calls"
        )


def check_spool_dir(spool_dir: Path | None) -> None:
    """Raises SettingsError if uploads could not be written, since every one would be refused."""
    if spool_dir is not None and not (spool_dir.is_dir() and os.access(spool_dir, os.W_OK | os.X_OK)):
        raise SettingsError(
            f"media.spool_dir is '{spool_dir}', must be a folder that this process may write to"
        )


def needs_key(settings: Settings) -> bool:
    return settings.access.keys_file is not None or bool(settings.access.keys)


def is_loopback(server: ServerSettings) -> bool:
    """Whether this machine alone reaches all addresses of the host."""
    try:
        addresses = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(
            f"server.host is {server.host!r}, must be an address of this machine: {error.strerror}"
        ) from error
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in addresses)


def _serve(settings: Settings) -> None:
    # imported late: --help and wrong settings are answered without loading the application
    from gateway.app import create_app
    from gateway.observe.logs import configure_logging
    from gateway.process.server import run
    from gateway.service import Service

    configure_logging(settings.observe.log_level)
    if not needs_key(settings):
        log.warning("no API keys: everybody who reaches %s may call", settings.server.host)
    service = Service(settings)
    run(create_app(service), service)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="server.host")
    parser.add_argument("--port", type=int, help="server.port; 0: any free one")
    parser.add_argument("--print-config", action="store_true", help="print the settings, secrets masked")
    return parser
