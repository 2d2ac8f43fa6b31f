"""Uploads → 16 kHz mono: every container, damaged ones too."""

import io
import shutil
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import media
from asr.audio.reader import MemoryFile, open_upload
from asr.config import Limits
from asr.errors import AsrError, UnsupportedMedia
from tests.asr import containers
from tests.asr.audio.decoding import BY_NAME, LIMITS, SECONDS, decode
from tests.asr.containers import CONTAINERS, Container

ROOT = Path(__file__).parents[3]
JFK = ROOT / "samples" / "jfk.flac"


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Highest correlation over all shifts: lossy codecs delay."""
    a, b = (
        samples.astype(np.float64) / np.linalg.norm(samples.astype(np.float64)) for samples in (one, other)
    )
    size = 1 << (len(a) + len(b)).bit_length()
    product = np.fft.rfft(a, size) * np.fft.rfft(b, size).conj()
    return float(np.fft.irfft(product, size).max())


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container.name)
def test_every_container_gives_the_sound_that_went_in(container: Container) -> None:
    audio = media.decode(containers.stored(container, SECONDS), LIMITS)
    assert abs(audio.duration_s - SECONDS) < 0.1
    assert audio.source.bad_packets == 0
    assert audio.source.sample_rate == container.sample_rate
    expected = (containers.tone(SECONDS) * 32767).astype(np.int16)
    assert similarity(audio.samples, expected) > (0.5 if "amr" in container.name else 0.9)


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container.name)
def test_samples_equal_openai_whispers_loader(container: Container, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the ffmpeg program to compare with")
    body = containers.stored(container, SECONDS)
    file = tmp_path / "upload"
    file.write_bytes(body)
    assert_equals_openai_whisper(body, file, 1000 if container.name == "wav_adpcm" else 6)


def test_real_speech_equals_openai_whispers_loader() -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the ffmpeg program to compare with")
    assert_equals_openai_whisper(JFK.read_bytes(), JFK, 3)


def assert_equals_openai_whisper(body: bytes, file: Path, tolerance: int) -> None:
    """whisper/audio.py, load_audio. FFmpeg's versions differ by a few units, in ADPCM's rounding by more."""
    command = ["ffmpeg", "-nostdin", "-threads", "0", "-i", str(file), "-f", "s16le", "-ac", "1"]
    command += ["-acodec", "pcm_s16le", "-ar", "16000", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    expected = np.frombuffer(done.stdout, np.int16)
    samples = decode(body)
    assert len(samples) == len(expected)
    assert np.abs(samples.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes(make: type) -> None:
    body = containers.stored(BY_NAME["flac"], SECONDS)
    np.testing.assert_array_equal(decode(make(body)), decode(body))


def test_the_audio_of_a_video() -> None:
    audio = media.decode(containers.video(with_audio=True), LIMITS)
    assert (audio.source.codec, round(audio.duration_s)) == ("aac", 2)
    audio = media.decode(containers.video(containers.MXF, "mpeg2video", with_audio=True), LIMITS)
    found = (audio.source.container, audio.source.codec, round(audio.duration_s, 1))
    assert found == ("mxf", "pcm_s16le", 2.0)
    assert similarity(audio.samples, (containers.tone(2.0) * 32767).astype(np.int16)) > 0.9


def test_what_was_found_is_told() -> None:
    source = media.decode(containers.stored(BY_NAME["wav_s24"], SECONDS), LIMITS).source
    assert (source.container, source.codec, source.sample_rate, source.channels) == (
        "wav",
        "pcm_s24le",
        48_000,
        6,
    )


def test_values_beyond_the_range_and_nan_stay_finite_samples() -> None:
    signal = np.array([0.0, 9.0, -9.0, np.nan, np.inf, -np.inf] * 1000, np.float32)
    body = containers.riff(signal.tobytes(), channels=1, sample_bytes=4, floats=True)
    samples = decode(body)
    assert (samples[1], samples[2]) == (32767, -32768)


@pytest.mark.parametrize("channels", [3, 5, 7, 8, 9, 12, 20, 24, 32])  # FFmpeg has no places for 9, 20 and 32
def test_many_channels(channels: int) -> None:
    tone = (containers.tone(1.0) * 32767).astype("<i2")
    frames = np.repeat(tone[:, None], channels, axis=1)
    heard = decode(containers.riff(frames.tobytes(), channels=channels))
    assert len(heard) == 16_000 and np.abs(heard.astype(int) - tone).max() <= 2


def test_what_cannot_be_converted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("no such conversion")

    monkeypatch.setattr(media.av, "AudioResampler", refuse)
    with pytest.raises(UnsupportedMedia, match="16000 Hz, 2 channels"):
        decode(containers.riff(bytes(18_000), channels=2))


def test_rate_and_channels_may_change_inside_a_track() -> None:
    one, other = (
        Container("a", "mp3", "libmp3lame", 44_100),
        Container("b", "mp3", "libmp3lame", 22_050, "mono"),
    )
    joined = containers.stored(one, SECONDS) + containers.stored(other, SECONDS)
    assert abs(len(decode(joined)) / 16_000 - 2 * SECONDS) < 0.3


def test_uploads_decode_side_by_side() -> None:
    bodies = [containers.stored(container, SECONDS) for container in CONTAINERS[:8]] * 2
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode, bodies))
    for body, samples in zip(bodies, together, strict=True):
        np.testing.assert_array_equal(samples, decode(body))


@pytest.mark.parametrize("name", ["flac", "mp3", "adts", "ogg_opus", "amr", "wav_s16", "webm", "wma"])
def test_a_truncated_file_gives_what_it_holds(name: str) -> None:
    body = containers.stored(BY_NAME[name], SECONDS)
    samples = decode(body[: len(body) * 2 // 3])
    assert 0.3 * SECONDS < len(samples) / 16_000 < 0.8 * SECONDS  # ogg stores whole pages of a second


def test_damaged_packets_are_skipped_and_counted() -> None:
    body = bytearray(containers.stored(BY_NAME["m4a"], SECONDS))
    for position in range(len(body) // 2, len(body) * 3 // 5):
        body[position] ^= 0x5A
    audio = media.decode(body, LIMITS)
    assert audio.source.bad_packets > 0
    assert audio.duration_s > SECONDS / 2


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CONTAINERS), st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_a_damaged_file_is_audio_or_a_typed_error(container: Container, seed: int, num_changes: int) -> None:
    rng = np.random.default_rng(seed)
    body = bytearray(containers.stored(container, 1.0))
    limit = len(body) if seed % 2 else min(len(body), 400)  # half of them in the headers
    for position in rng.integers(0, limit, num_changes):
        body[position] = rng.integers(0, 256)
    try:
        assert len(decode(body, Limits(max_audio_seconds=60))) > 0
    except AsrError as error:
        assert error.status in (400, 413, 415)


def outcome(body: bytes) -> tuple[type[AsrError], str] | tuple[bytes, int]:
    try:
        audio = media.decode(body, Limits(max_audio_seconds=60))
        return audio.samples.tobytes(), audio.source.bad_packets
    except AsrError as error:
        return type(error), str(error)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([one for one in CONTAINERS if one.name.startswith("wav_")]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 20),
    st.floats(0.02, 1),
)
def test_going_back_in_a_wav_is_as_good_as_opening_it_anew(
    container: Container, seed: int, num_changes: int, share: float
) -> None:
    """Whole, damaged, truncated or lying about its length."""
    rng = np.random.default_rng(seed)
    body = bytearray(containers.stored(container, 1.0))
    for position in rng.integers(0, min(len(body), 120), num_changes):
        body[position] = rng.integers(0, 256)
    cut = bytes(body[: max(1, round(share * len(body)))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.audio.reader.Upload.rewind", lambda upload: False)
        anew = outcome(cut)
    assert outcome(cut) == anew


def dts_frames(count: int, size: int, rng: np.random.Generator) -> bytes:
    """Frames with the header of 44.1 kHz stereo DTS and noise in them."""
    fields = ((0x7FFE8001, 32), (1, 1), (31, 5), (0, 1), (15, 7), (size - 1, 14), (2, 6), (8, 4), (15, 5))
    bits = "".join(f"{value:0{width}b}" for value, width in fields).ljust(80, "0")
    header = int(bits, 2).to_bytes(10, "big")
    return b"".join(header + rng.integers(0, 100, size - 10, np.uint8).tobytes() for _ in range(count))


@pytest.mark.parametrize("order", [">u2", "<u2"])
@pytest.mark.parametrize("size", [1024, 2048, 4096])
def test_dts_that_calls_itself_pcm_is_found(order: str, size: int) -> None:
    rng = np.random.default_rng(size)
    payload = np.frombuffer(dts_frames(100, size, rng), ">u2").astype(order).tobytes()
    with wave.open(buffer := io.BytesIO(), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(payload)
    with open_upload(buffer.getvalue()) as upload:
        assert upload.source(0).codec == "dts"


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_large_packets_of_a_wav_give_the_same_samples(rate: int, channels: int, width: int) -> None:
    sound = np.random.default_rng(rate).integers(0, 256, rate * channels * width, np.uint8)
    with wave.open(buffer := io.BytesIO(), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    for missing in (0, 1, 1_000):
        body = buffer.getvalue()[: buffer.tell() - missing]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("asr.audio.reader.PCM_WAV_OPTIONS", {})
            ordinary = outcome(body)
        assert outcome(body) == ordinary


@settings(deadline=None)
@given(
    st.binary(max_size=50), st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(-60, 60)), max_size=8)
)
def test_a_memory_file_behaves_like_bytesio(body: bytes, moves: list[tuple[int, int]]) -> None:
    ours, reference = MemoryFile(body), io.BytesIO(body)
    for whence, offset in moves:
        if whence == io.SEEK_SET:
            offset = abs(offset)
        assert ours.seek(offset, whence) == reference.seek(offset, whence)
        assert ours.read(7) == reference.read(7)
        assert ours.tell() == reference.tell()
    assert ours.read() == reference.read()
