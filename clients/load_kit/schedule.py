"""When requests start and which clip each sends; pure and seeded, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate, cycle
from typing import TypeVar

from whisper_client.errors import BadArgument

MAX_ARRIVALS = 1_000_000
MAX_LEVELS = 100  # of one sweep

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


def poisson_count(rate: float, count: int, seed: int) -> tuple[float, ...]:
    """The first `count` start times of the same process."""
    if count > MAX_ARRIVALS:
        raise BadArgument(f"{count:,} requests are above {MAX_ARRIVALS:,}: take less")
    rng = random.Random(seed)
    return tuple(accumulate(rng.expovariate(1.0) / rate for _ in range(count)))


def in_turn(clips: Sequence[T]) -> Iterator[T]:
    """The clips without end, round and round in the order given."""
    return cycle(clips)


def at_random(clips: Sequence[T], seed: int, weights: Sequence[float] | None = None) -> Iterator[T]:
    """Clips drawn without end; another stream of numbers than the arrivals of the same seed."""
    rng = random.Random(f"clips {seed}")
    totals = list(accumulate(weights or [1.0] * len(clips)))
    while True:
        yield rng.choices(clips, cum_weights=totals)[0]


def parse_levels(text: str) -> tuple[float, ...]:
    """The levels of a sweep, ascending: "1:64:2x" doubles, "2:10:4" adds, "1,4,16" lists, "8" is one level.

    The end belongs to the range where a step meets it. Raises BadArgument.
    """
    try:
        levels = _range(*text.split(":")) if ":" in text else tuple(float(part) for part in text.split(","))
    except (TypeError, ValueError, OverflowError):
        levels = ()
    if not 0 < len(levels) <= MAX_LEVELS or any(not 0 < level < float("inf") for level in levels):
        raise BadArgument(f"{text!r} is no range: write 1:64:2x, 2:10:4 or 1,4,16, all above 0")
    return tuple(sorted(set(levels)))


def _range(first: str, last: str, step: str) -> tuple[float, ...]:
    multiply, number = step.endswith("x"), float(step.removesuffix("x"))
    level, end = float(first), float(last) * (1 + 1e-9)  # ten steps of 0.1 meet 1 only roughly
    if not (number > 1 if multiply else number > 0):
        raise ValueError(step)
    levels: list[float] = []
    while 0 < level <= end and len(levels) <= MAX_LEVELS:
        levels.append(round(level, 9))
        level = level * number if multiply else level + number
    return tuple(levels)
