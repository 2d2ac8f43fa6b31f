"""A client for tests of retries."""

from __future__ import annotations

import random

from whisper_client import WhisperClient
from whisper_client.retry import RetryPolicy
from whisper_client.transport import Transport


class NoWaitClient(WhisperClient):
    """A client whose waits take no time; `waits` are the seconds it would have waited."""

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = 10, retries: int = 6
    ) -> None:
        super().__init__(url, token, timeout_s=timeout_s, retries=retries)
        self.waits: list[float] = []
        policy = RetryPolicy(retries=retries)
        rng = random.Random(0)
        self._transport = Transport(
            url, token, timeout_s=timeout_s, policy=policy, sleep=self.waits.append, rng=rng
        )
