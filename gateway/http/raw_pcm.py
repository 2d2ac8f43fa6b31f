"""Bare samples → a WAV file, because the decoder needs a header."""

from __future__ import annotations

import asyncio
import tempfile
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from asr.constants import SAMPLE_RATE
from asr.errors import InvalidAudio
from gateway.http.spool import disk_room
from gateway.media.sizes import SMALL_BYTES

SAMPLE_BYTES = 2
COPIED_BYTES = 1 << 20  # at a time


@asynccontextmanager
async def as_wav(pcm: Path, spool_dir: Path | None) -> AsyncIterator[Path]:
    """The 16-bit little-endian mono samples at 16 kHz in `pcm`, moved to a WAV file that lasts for the block.

    Raises InvalidAudio for no samples or half a sample, Overloaded if the disk is full.
    """
    size = pcm.stat().st_size
    if not size or size % SAMPLE_BYTES:
        raise InvalidAudio(
            f"raw PCM holds {size} bytes, must be whole 16-bit samples, mono, 16 kHz (encode=false says so)",
            param="audio_file",
        )
    with tempfile.NamedTemporaryFile(prefix="upload-", dir=spool_dir) as wav:
        with disk_room():
            if size <= SMALL_BYTES:
                _write(pcm, size, wav)
            else:
                await asyncio.to_thread(_write, pcm, size, wav)
        yield Path(wav.name)


def _write(pcm: Path, size: int, wav: IO[bytes]) -> None:
    with wave.open(wav, "wb") as target, pcm.open("r+b") as source:
        target.setparams((1, SAMPLE_BYTES, SAMPLE_RATE, size // SAMPLE_BYTES, "NONE", ""))
        while piece := source.read(COPIED_BYTES):
            target.writeframesraw(piece)
        source.truncate(0)
    wav.flush()
