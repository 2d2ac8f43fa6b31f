"""Bare samples → a WAV file, because the decoder needs a header."""

from __future__ import annotations

import asyncio
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from asr.constants import SAMPLE_RATE
from asr.errors import InvalidAudio
from gateway.http.bodies import disk_room
from gateway.media.sizes import SMALL_BYTES

SAMPLE_BYTES = 2


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
    byte_rate = SAMPLE_RATE * SAMPLE_BYTES
    kind = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE, byte_rate, SAMPLE_BYTES, 8 * SAMPLE_BYTES)
    wav.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", len(kind)) + kind)
    wav.write(b"data" + struct.pack("<I", size))
    with pcm.open("r+b") as source:
        shutil.copyfileobj(source, wav, 1 << 20)
        source.truncate(0)
    wav.flush()
