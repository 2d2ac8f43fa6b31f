"""Uploads: whatever the bytes, samples within the limits or a refusal that names a reason."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asr.audio import media
from asr.config import Limits
from asr.constants import SAMPLE_RATE
from asr.errors import AsrError
from tests.asr.containers import CONTAINERS, stored

LIMITS = Limits(max_audio_seconds=120, max_upload_bytes=1_000_000)
MAX_BYTES = 32_000  # of an input: mutations of small files reach more
WORDS = (
    b"RIFF", b"WAVEfmt ",
    b"data", b"fLaC", b"OggS", b"OpusHead", b"ID3", b"ftypisom", b"moov", b"stts", b"mdat",
    b"\x1aE\xdf\xa3", b"#!AMR\n", b"FORM", b"AIFF", b"caff", b"FLV\x01", b"TTA1", b"wvpk", b".snd",
    b"#EXTM3U\n", b"ffconcat version 1.0\n", b"file:///etc/passwd", b"http://127.0.0.1/",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """A short file of every container that the tests know."""
    for container in CONTAINERS:
        file = stored(container, 0.2)
        yield file if len(file) <= MAX_BYTES else stored(container, 0.02)


def check(data: bytes) -> None:
    """Raises AssertionError, or what the code under test should not have raised."""
    try:
        audio = media.decode(data, LIMITS)
    except AsrError as error:
        assert error.status in (400, 413, 415), error
        return
    assert audio.samples.dtype == np.int16
    assert audio.samples.ndim == 1
    assert 0 < len(audio.samples) <= LIMITS.max_audio_seconds * SAMPLE_RATE + 1
