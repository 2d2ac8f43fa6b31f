"""Requests and seconds of audio per minute, per caller and per address; Redis shares them among gateways."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Any, NamedTuple

from limits import RateLimitItemPerMinute
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from asr.errors import TooLarge
from gateway.api_errors import RateLimited
from gateway.caller import LOCAL, Caller
from gateway.settings import AccessSettings, SettingsError
from gateway.settings_errors import without_passwords

log = logging.getLogger(__name__)

MINUTE_S = 60.0
STORAGE_TIMEOUT_S = 0.5  # longest wait of a request for the storage
STORAGE_PAUSE_S = 5.0  # no limits for this time after a failure of the storage

REQUESTS, AUDIO = "requests", "audio"


class Limiter:
    """Counts in sliding minutes. While the storage does not answer, every request passes: the limits protect
    from greed, not from attack, and admission still bounds the queue.

    The per-caller limits are in the caller (`KeyStore` fills in the defaults). Callers without a key are
    distinguished by address.
    """

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._paused_until = -math.inf
        self._storage = _storage(settings.storage_url)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def check_request(self, caller: Caller) -> None:
        """Counts one request; raises RateLimited."""
        await self._count_requests(caller, 1)

    async def check_batch(self, caller: Caller, num_files: int) -> None:
        """Counts each file of a request as a request of its own; the first one has been counted already.
        Raises RateLimited, or TooLarge if waiting would not help."""
        for limit in (caller.requests_per_minute, self._settings.requests_per_minute_per_address):
            if limit is not None and num_files > limit:
                raise TooLarge(
                    f"the form has {num_files} files, each of which is a request; you may send {limit} "
                    "requests per minute",
                    param="files",
                )
        if num_files > 1:
            await self._count_requests(caller, num_files - 1)

    async def check_audio(self, caller: Caller, seconds: float) -> None:
        """Counts seconds of audio; raises RateLimited, or TooLarge if waiting would not help."""
        cost = max(1, math.ceil(seconds))
        per_address = self._settings.audio_seconds_per_minute_per_address
        for limit in (caller.audio_seconds_per_minute, per_address):
            if limit is not None and cost > max(1, int(limit)):
                raise TooLarge(
                    f"the file has {seconds:.0f} s of audio; you may send {limit:g} s per minute",
                    param="file",
                )
        await self._check(AUDIO, caller.audio_seconds_per_minute, cost, *_identity(caller))
        await self._check(AUDIO, per_address, cost, "address", caller.address)

    async def _count_requests(self, caller: Caller, count: int) -> None:
        await self._check(REQUESTS, caller.requests_per_minute, count, *_identity(caller))
        per_address = self._settings.requests_per_minute_per_address
        await self._check(REQUESTS, per_address, count, "address", caller.address)

    async def _check(self, what: str, limit: float | None, cost: int, scope: str, identity: str) -> None:
        if limit is None or time.monotonic() < self._paused_until:
            return
        item = RateLimitItemPerMinute(max(1, int(limit)))
        try:
            async with asyncio.timeout(STORAGE_TIMEOUT_S):
                if await self._limiter.hit(item, what, scope, identity, cost=cost):
                    return
                key = item.key_for(what, scope, identity)
                window = SlidingMinute(*await self._storage.get_sliding_window(key, item.get_expiry()))
        except Exception as error:  # whatever the storage's client raises
            self._paused_until = time.monotonic() + STORAGE_PAUSE_S
            log.error("rate limits are off for %g s, the storage failed: %r", STORAGE_PAUSE_S, error)
            return
        raise _refusal(what, limit, scope, window.wait_s(item.amount, cost))


class SlidingMinute(NamedTuple):
    """The counts of the previous and the current minute, and the seconds until each expires. The previous
    count weighs less as it ages."""

    previous: int
    previous_expires_s: float
    current: int
    current_expires_s: float

    def wait_s(self, limit: int, cost: int) -> float:
        """Seconds until the cost fits, if no other request comes."""
        room = limit - cost
        if self.current <= room:
            fits_at_s = MINUTE_S * (room - self.current) / max(1, self.previous)
            return max(0.0, self.previous_expires_s - fits_at_s)
        turn_s = max(0.0, self.current_expires_s - MINUTE_S)  # until the current minute is the previous one
        return turn_s + MINUTE_S * (1 - room / self.current)


def _refusal(what: str, limit: float, scope: str, wait_s: float) -> RateLimited:
    unit = "requests" if what == REQUESTS else "seconds of audio"
    whose = "this key" if scope == "key" else "this address"
    wait_s = max(1.0, math.ceil(wait_s))
    return RateLimited(
        f"rate limit of {whose}: {limit:g} {unit} per minute; try again in {wait_s:.0f} s",
        retry_after_s=wait_s,
    )


def _identity(caller: Caller) -> tuple[str, str]:
    """The scope of the limit, and the name under which it is counted."""
    if caller.name == LOCAL.name:
        return "address", f"{caller.name}@{caller.address}"
    return "key", caller.name


def _storage(url: str) -> Any:  # the library has no common public type for storages
    options: dict[str, float | str] = {}
    if not url.startswith("memory:"):
        options = {"socket_timeout": STORAGE_TIMEOUT_S, "socket_connect_timeout": STORAGE_TIMEOUT_S}
        options["implementation"] = "redispy"
    try:
        return storage_from_string(f"async+{url}", **options)
    except ConfigurationError as error:
        wrong = without_passwords(str(error).splitlines()[0].replace("async+", ""))
        raise SettingsError(
            f"access.storage_url cannot be used ({wrong}): must be memory:// or redis://HOST:PORT/N, "
            "which needs `pip install -r requirements-gateway.txt`"
        ) from error
