"""API keys from the settings and from a YAML file, which is read again when it changes.

    keys:
      - name: alice               # for logs and metrics
        sha256: 9f86d081884c7d65… # or `key:` in plain text
        weight: 2.0               # twice the windows of others under full load
        models: [whisper]         # none: all
        may_load: true            # POST /v1/models/NAME/load and /unload
        requests_per_minute: 60
        audio_seconds_per_minute: 3600

`python -m gateway.access.keys new alice` makes a key and its entry. A key has 256 random bits, so a plain
SHA-256 protects it: guessing is hopeless without salt or stretching.
"""

from __future__ import annotations

import hmac
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from gateway.access.key_file import KeyEntry, key_digest, read_key_file
from gateway.access.wrong_keys import WrongKeys
from gateway.api_errors import Unauthorized
from gateway.caller import Caller
from gateway.setting_types import MAX_KEY_CHARS
from gateway.settings import AccessSettings, SettingsError

log = logging.getLogger(__name__)

RELOAD_EVERY_S = 1.0  # shortest time between two looks at the file

Stamp = tuple[int, int, int]  # changes with a file's content


class KeyStore:
    """Finds the caller by the digest of its key.

    A changed file counts from the next request on. A broken or missing file is logged, and the old keys stay
    valid.
    """

    def __init__(self, settings: AccessSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._looked_at = clock()
        self._stamp = _stamp(settings.keys_file)
        entries = read_key_file(settings.keys_file).keys if settings.keys_file else ()
        self._callers = self._with_digests(entries)
        self._wrong_keys = WrongKeys(settings.wrong_keys_per_minute_per_address, clock)

    @property
    def configured(self) -> bool:
        """Whether callers need a key. A keys file without entries lets nobody in."""
        return self._settings.keys_file is not None or bool(self._settings.keys)

    def authenticate(self, authorization: str | None, address: str) -> Caller:
        """The caller with this Authorization header, or a local one if no keys are configured; raises
        Unauthorized, or TooManyWrongKeys for an address with too many wrong keys."""
        if not self.configured:
            return Caller(
                address=address,
                requests_per_minute=self._settings.requests_per_minute,
                audio_seconds_per_minute=self._settings.audio_seconds_per_minute,
            )
        self._reload()
        try:
            return replace(self._caller_with(authorization), address=address)
        except Unauthorized:
            self._wrong_keys.count(address)
            raise

    def caller_named(self, name: str) -> Caller:
        """The caller of that name; one without rights of its own if its key is gone."""
        return next((caller for _, caller in self._callers if caller.name == name), Caller(name))

    def _caller_with(self, authorization: str | None) -> Caller:
        scheme, _, key = (authorization or "").strip().partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise Unauthorized("an API key is needed: send `Authorization: Bearer KEY`")
        caller = self._caller_of(key) if len(key) <= MAX_KEY_CHARS else None
        if caller is None:
            raise Unauthorized("the API key is not known here")
        return caller

    def _caller_of(self, key: str) -> Caller | None:
        """Compares with every digest, so that the time reveals nothing about the keys."""
        digest, match = key_digest(key), None
        for other, caller in self._callers:
            if hmac.compare_digest(other, digest):
                match = caller
        return match

    def _with_digests(self, entries: tuple[KeyEntry, ...]) -> tuple[tuple[str, Caller], ...]:
        def all_callers() -> Iterator[tuple[str, Caller]]:
            for entry in entries:
                yield entry.digest, entry.caller(self._settings)
            for secret in self._settings.keys:
                digest = key_digest(secret.get_secret_value())
                entry = KeyEntry(name=f"key-{digest[:8]}", sha256=digest)
                yield digest, entry.caller(self._settings)

        return tuple(all_callers())

    def _reload(self) -> None:
        path = self._settings.keys_file
        if path is None or self._clock() - self._looked_at < RELOAD_EVERY_S:
            return
        self._looked_at = self._clock()
        stamp = _stamp(path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._callers = self._with_digests(read_key_file(path).keys)
        except SettingsError as error:
            log.error("the keys stay as they were: %s", error)
        else:
            log.info("read %d keys again", len(self._callers))


def _stamp(path: Path | None) -> Stamp | None:
    try:
        status = os.stat(path) if path else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None


if __name__ == "__main__":
    from gateway.access.new_key import main

    sys.exit(main())
