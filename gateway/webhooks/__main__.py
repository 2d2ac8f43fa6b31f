"""Prints the secret that signs a caller's `webhook_url`: python -m gateway.webhooks KEY_FILE CALLER"""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.settings_errors import SettingsError
from gateway.webhooks.signing import read_signing_key


def main(arguments: list[str]) -> int:
    """The exit status; a missing file is an error here, not a new key."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        if not path.is_file():
            raise SettingsError(f"there is no key file at {str(path)!r}")
        print(read_signing_key(path).caller_secret(arguments[1]))
    except SettingsError as error:
        print(f"gateway.webhooks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
