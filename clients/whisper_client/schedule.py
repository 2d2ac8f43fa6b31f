"""When requests start and which clip each sends; pure and seeded, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from whisper_client.errors import BadArgument

MAX_ARRIVALS = 1_000_000

T = TypeVar("T")


def poisson_arrivals(rate: float, duration_s: float, seed: int) -> tuple[float, ...]:
    """Start times in [0, duration_s), ascending, seconds: a Poisson process of `rate` requests a second.

    The gaps are exponential, so requests bunch as independent callers' do. Another `rate` or `duration_s`
    with the same seed stretches or cuts the same process.
    """
    if rate * duration_s > MAX_ARRIVALS:
        raise BadArgument(
            f"{rate:g} requests/s for {duration_s:g} s are above {MAX_ARRIVALS:,} requests: take less of one"
        )
    rng = random.Random(seed)
    arrivals: list[float] = []
    moment = rng.expovariate(1.0) / rate
    while moment < duration_s:
        arrivals.append(moment)
        moment += rng.expovariate(1.0) / rate
    return tuple(arrivals)


def in_turn(clips: Sequence[T], count: int) -> list[T]:
    """`count` clips, round and round in the order given."""
    return [clips[index % len(clips)] for index in range(count)]


def at_random(clips: Sequence[T], count: int, seed: int) -> list[T]:
    """`count` clips drawn evenly; another stream of numbers than the arrivals of the same seed."""
    rng = random.Random(f"clips {seed}")
    return [rng.choice(clips) for _ in range(count)]
