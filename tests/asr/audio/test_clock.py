"""An audio track on its container's clock: late starts, holes, and timestamps that lie."""

from __future__ import annotations

import itertools
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.audio import media
from asr.audio.clock import Clock, with_next
from asr.config import Limits
from asr.constants import SAMPLE_RATE
from asr.errors import TooLarge
from tests.asr import containers
from tests.asr.movies import Piece, film

CLOCKED = [
    ("matroska", "aac"),
    ("matroska", "pcm_s16le"),
    ("webm", "libopus"),
    ("mp4", "aac"),
    ("mpegts", "aac"),
    ("mpegts", "mp2"),
    ("mpeg", "mp2"),
    ("flv", "libmp3lame"),
]
NEAR = 0.06  # encoders' priming and whole frames


def heard(body: bytes, limits: Limits | None = None) -> list[Piece]:
    """Start and length in seconds of every stretch of sound, as decoded; 80 ms of silence end one."""
    samples = media.decode(body, limits or Limits()).samples
    loud = np.abs(samples[: len(samples) // 160 * 160].astype(int)).reshape(-1, 160).max(axis=1) > 300
    stretches: list[list[int]] = []
    for index in np.flatnonzero(loud):
        if stretches and index - stretches[-1][1] < 8:
            stretches[-1][1] = index + 1
        else:
            stretches.append([index, index + 1])
    return [(start / 100, (end - start) / 100) for start, end in stretches]


def rate_of(format: str) -> int:
    return 44_100 if format == "flv" else 48_000


@pytest.mark.parametrize(("format", "codec"), CLOCKED)
@pytest.mark.parametrize(
    "pieces",
    [
        [(0.0, 3.0)],
        [(6.0, 3.0)],
        [(9.5, 2.0)],
        [(0.0, 2.0), (5.0, 2.0)],
        [(1.0, 2.0), (3.5, 2.0), (9.0, 1.0)],
    ],
    ids=["in time", "late", "later than FFmpeg looks", "hole", "late, two holes"],
)
def test_sound_lies_where_the_container_puts_it(format: str, codec: str, pieces: list[Piece]) -> None:
    found = heard(film(format, codec, *pieces, rate=rate_of(format)))
    assert np.array(found) == pytest.approx(np.array(pieces), abs=NEAR)


@pytest.mark.parametrize("begin", [0.0, 500.0, 2**33 / 90_000 - 4])  # the last wraps around inside the hole
def test_the_clock_counts_from_the_containers_start(begin: float) -> None:
    film_s: list[Piece] = [(2.0, 1.0), (6.0, 2.0)]
    found = heard(film("mpegts", "aac", *film_s, begin=begin))
    assert np.array(found) == pytest.approx(np.array(film_s), abs=NEAR)


def test_sound_alone_starts_at_once_and_keeps_its_holes() -> None:
    found = heard(film("webm", "libopus", (100.0, 1.0), (103.0, 1.0), seconds=0))
    assert np.array(found) == pytest.approx(np.array([(0.0, 1.0), (3.0, 1.0)]), abs=NEAR)


def test_many_small_holes_add_up() -> None:
    """A tenth of all packets lost: 50 ms missing in every half second."""
    pieces = [(0.5 * index, 0.45) for index in range(16)]
    samples = media.decode(film("matroska", "pcm_s16le", *pieces), Limits()).samples
    assert len(samples) / SAMPLE_RATE == pytest.approx(7.95, abs=0.15)


@pytest.mark.parametrize(
    ("format", "codec"), [("mpegts", "aac"), ("mpeg", "mp2"), ("webm", "libopus"), ("matroska", "aac")]
)
def test_recordings_appended_to_one_another_follow_each_other(format: str, codec: str) -> None:
    one = film(format, codec, (0.0, 3.0), seconds=3)
    duration = media.decode(one, Limits()).duration_s
    twice = media.decode(one + one, Limits())
    assert twice.duration_s == pytest.approx(2 * duration, abs=NEAR)


def test_a_broadcast_whose_clock_is_set_ahead_goes_on_at_once() -> None:
    body = film("mpegts", "aac", (0.0, 2.0), seconds=2) + film("mpegts", "aac", (0.0, 2.0), begin=7200)
    assert media.decode(body, Limits()).duration_s == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("hours", [3, 10])
def test_a_hole_counts_toward_the_limit(hours: int) -> None:
    body = film("matroska", "aac", (0.0, 1.0), (hours * 3600.0, 1.0))
    with pytest.raises(TooLarge, match=f"lasts {hours * 3600 + 1} s, this server takes at most 7200 s"):
        media.decode(body, Limits(max_audio_seconds=7200))


def test_a_hole_that_no_header_declares_is_refused_before_it_is_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a buffer was made")

    monkeypatch.setattr(media, "_Track", never)
    body = film("flv", "libmp3lame", (0.0, 1.0), (36_000.0, 1.0), rate=44_100)
    with pytest.raises(TooLarge, match="at most 14400 s; its timestamps leave a hole of 35999 s"):
        media.decode(body, Limits())


def test_an_hour_without_sound_is_an_hour_of_silence() -> None:
    audio = media.decode(film("matroska", "aac", (0.0, 1.0), (3600.0, 1.0)), Limits())
    assert audio.duration_s == pytest.approx(3601, abs=NEAR)
    assert not audio.samples[2 * SAMPLE_RATE : 3599 * SAMPLE_RATE].any()


# --- the rule itself


def clock(container: str = "matroska,webm", start: int | None = 0) -> Clock:
    """A clock of 16,000 ticks a second."""
    stand_in = SimpleNamespace(format=SimpleNamespace(name=container), start_time=start)
    stream = SimpleNamespace(time_base=Fraction(1, SAMPLE_RATE))
    return Clock(SimpleNamespace(container=stand_in, stream=stream))


def places(
    times_s: list[float | None], length_s: float = 0.02, container: str = "matroska,webm"
) -> list[float]:
    """Where sounds of that length lie, in seconds, by the timestamps that they carry."""
    ticking, end, found = clock(container), 0.0, []
    times = [None if time is None else round(time * SAMPLE_RATE) for time in times_s]
    for time, following in with_next(times):
        place = ticking.place(time, end, following)
        found.append(place / SAMPLE_RATE)
        end = place + length_s * SAMPLE_RATE
    return found


FRAME = 0.02
EVEN = [FRAME * index for index in range(10)]


def moved(by: float, times: list[float] = EVEN) -> list[float]:
    return [time + by for time in times]


@pytest.mark.parametrize(
    ("times", "starts"),
    [
        (EVEN, EVEN),
        ([None] * 10, EVEN),
        (moved(0.09), EVEN),  # less than a hole
        (moved(0.2), moved(0.2)),
        (EVEN + moved(5), EVEN + moved(5)),
        (EVEN + moved(-0.9), moved(0, [FRAME * index for index in range(20)])),
        (EVEN + moved(-90), [FRAME * index for index in range(20)]),
        (EVEN + moved(-90) + moved(-80), [FRAME * index for index in range(20)] + moved(10.2)),
        ([*EVEN, 3600, *moved(0.22)], [FRAME * index for index in range(21)]),  # one wrong timestamp
        ([*EVEN, -3600, *moved(0.22)], [FRAME * index for index in range(21)]),
    ],
)
def test_where_sound_is_placed(times: list[float | None], starts: list[float]) -> None:
    found = places(times)
    assert found[: len(starts)] == pytest.approx(starts[: len(found)], abs=1e-3)


def test_a_jump_ahead_in_a_broadcast_is_a_new_clock_after_a_minute() -> None:
    assert places(EVEN + moved(59), container="mpegts")[10] == pytest.approx(59, abs=1e-3)
    assert places(EVEN + moved(61), container="mpegts")[10] == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("container", ["wav", "mp3", "flac", "aac", "amr", "ogg", "avi"])
def test_other_containers_have_no_clock(container: str) -> None:
    assert clock(container).time(SimpleNamespace(pts=160_000)) is None


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=30))
def test_sound_is_never_placed_over_sound(times: list[int | None]) -> None:
    ticking, end = clock(start=None), 0.0
    for time, following in with_next(times):
        place = ticking.place(time, end, following)
        assert place >= end
        end = place + 320


@pytest.mark.parametrize("items", [[], [1], [1, 2, 3]])
def test_with_next(items: list[int]) -> None:
    assert list(with_next(items)) == list(itertools.zip_longest(items, items[1:]))


@pytest.mark.parametrize("container", containers.CONTAINERS, ids=lambda container: container.name)
def test_ordinary_files_have_no_silence_put_in(
    container: containers.Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = containers.stored(container, 3.0)
    as_placed = media.decode(body, Limits()).samples
    monkeypatch.setattr("asr.audio.clock.CLOCKED", set())
    np.testing.assert_array_equal(media.decode(body, Limits()).samples, as_placed)
