"""Uploads made to exhaust memory, each in a process of its own, whose peak memory is read."""

import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from asr.audio.allocations import bound_allocations
from tests.asr import containers
from tests.asr.audio.decoding import BY_NAME, SECONDS, decode
from tests.asr.containers import Container

ROOT = Path(__file__).parents[3]


def peak_and_error(path: Path) -> tuple[float, str]:
    """Peak memory in MB of a process that decodes the file, and the class and message of its error."""
    script = textwrap.dedent(r"""
        import re, sys
        from pathlib import Path
        from asr.audio import media
        from asr.config import Limits
        body = Path(sys.argv[1]).read_bytes()
        try:
            outcome = repr(media.decode(body, Limits()).source)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        # not ru_maxrss: across fork and exec it starts from the size of the process that runs the tests
        peak_kb = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
        print(int(peak_kb) / 1024, outcome)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=ROOT,
    )
    peak, outcome = done.stdout.split(" ", 1)
    return float(peak), outcome


OPUS = Container("opus", "ogg", "libopus", 48_000, "mono", bit_rate=6_000)
FLAC = Container("flac", "flac", "flac", 8_000, "mono")
DAY_MINUTES = 24 * 60
SLOW_PACKETS = {"dtx": "1", "frame_duration": "60"}


def flac_day() -> bytes:
    return containers.repeated_flac(DAY_MINUTES, declared_samples=DAY_MINUTES * 60 * 8_000)


def flac_day_of_undeclared_length() -> bytes:
    return containers.repeated_flac(DAY_MINUTES, declared_samples=0)


def opus_day_that_declares_a_minute() -> bytes:
    return containers.silence(OPUS, 60, SLOW_PACKETS) * DAY_MINUTES  # chained: the last page counts anew


def mp4_whose_packets_lie() -> bytes:
    body = bytearray(
        containers.silence(Container("mp4", "mp4", "libopus", 48_000, "mono", 6_000), 90, SLOW_PACKETS)
    )
    stts = body.find(b"stts") + 4
    (num_entries,) = struct.unpack_from(">I", body, stts + 4)
    for index in range(num_entries):
        struct.pack_into(">I", body, stts + 8 + 8 * index + 4, 1)  # ticks each packet lasts
    return bytes(body)


def mp4_with_a_table_of_40_million_samples() -> bytes:
    body = bytearray(containers.stored(BY_NAME["m4a"], SECONDS))
    huge = 40_000_000
    struct.pack_into(">II", body, body.find(b"stsz") + 8, 1, huge)
    struct.pack_into(">I", body, body.find(b"stsc") + 16, huge)
    struct.pack_into(">I", body, body.find(b"stts") + 12, huge)
    return bytes(body)


BOMBS = {
    "flac": (flac_day, "TooLarge: the audio lasts 86400 s, this server takes at most 14400 s"),
    "flac, length hidden": (flac_day_of_undeclared_length, "TooLarge: the audio lasts more than 14400 s"),
    "opus, claims a minute": (opus_day_that_declares_a_minute, "TooLarge: the audio lasts more than"),
    "mp4, lies per packet": (mp4_whose_packets_lie, "InvalidAudio: the upload decodes to more than 60 s"),
    "mp4, huge table": (mp4_with_a_table_of_40_million_samples, "InvalidAudio: "),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    make, expected = BOMBS[name]
    file = tmp_path / "bomb"
    file.write_bytes(make())
    peak, outcome = peak_and_error(file)
    assert outcome.startswith(expected)
    assert peak < 200


def test_minutes_of_silence_are_not_taken_for_a_bomb() -> None:
    for container, options in ((FLAC, None), (OPUS, SLOW_PACKETS)):
        body = containers.silence(container, 120, options)
        assert len(body) < 40_000
        assert abs(len(decode(body)) / 16_000 - 120) < 0.5


def test_allocations_are_bounded() -> None:
    assert bound_allocations()
