"""Chunks of any size become the samples of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from asr.live.pcm_stream import Encoding, PcmStream
from asr.schema import Samples

PCM = (8_000 * np.sin(np.arange(48_000) / 9)).astype("<i2").tobytes()


def read(stream: PcmStream, data: bytes, size: int) -> Samples:
    parts = [stream.read(data[first : first + size]) for first in range(0, len(data), size)]
    return np.concatenate([*parts, stream.flush()])


@pytest.mark.parametrize("encoding", ["pcm16", "mulaw", "alaw"])
@pytest.mark.parametrize("size", [1, 3, 160, 4_801])
def test_a_stream_of_chunks_is_one_piece(encoding: Encoding, size: int) -> None:
    data = PCM[:6_000] if size < 100 else PCM
    whole = read(PcmStream(encoding), data, len(data))
    assert np.array_equal(read(PcmStream(encoding), data, size), whole)
    seconds = len(data) / {"pcm16": 48_000, "mulaw": 8_000, "alaw": 8_000}[encoding]
    assert abs(len(whole) - seconds * 16_000) <= 2


def test_a_tone_keeps_its_pitch_and_its_level() -> None:
    samples = read(PcmStream("pcm16"), PCM, 2_400)
    spectrum = np.abs(np.fft.rfft(samples[1_000:17_000] / 32_768))
    assert abs(int(spectrum.argmax()) - 24_000 / 9 / (2 * np.pi)) <= 1
    assert abs(samples.max() - 8_000) < 100


def test_the_codes_of_silence_are_silence() -> None:
    assert np.abs(read(PcmStream("mulaw"), b"\xff" * 800, 800)).max() == 0
    assert np.abs(read(PcmStream("alaw"), b"\xd5" * 800, 800)).max() <= 8


def test_a_flush_keeps_the_odd_byte() -> None:
    stream = PcmStream("pcm16")
    before = stream.read(PCM[:4_801])
    before = np.concatenate((before, stream.flush()))
    after = np.concatenate((stream.read(PCM[4_801:9_600]), stream.flush()))
    assert (len(before), len(after)) == (1_600, 1_600)
    assert np.abs(after[20:1_500] - read(PcmStream("pcm16"), PCM, 9_600)[1_620:3_100]).max() <= 3
