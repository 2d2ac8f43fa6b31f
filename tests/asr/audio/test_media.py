"""Uploads → 16 kHz mono: every container, every refusal, and the caps while decoding."""

import contextlib
import io
import shutil
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import media
from asr.audio.allocations import bound_allocations
from asr.audio.reader import FORMATS, MAX_SAMPLE_RATE, MemoryFile, open_upload
from asr.config import Limits
from asr.errors import AsrError, InvalidAudio, TooLarge, UnsupportedMedia
from tests.asr import containers
from tests.asr.containers import CONTAINERS, Container

ROOT = Path(__file__).parents[3]
JFK = ROOT / "samples" / "jfk.flac"
LIMITS = Limits()
BY_NAME = {container.name: container for container in CONTAINERS}
SECONDS = 3.0


def decode(body: bytes | bytearray | memoryview, limits: Limits = LIMITS) -> np.ndarray:
    audio = media.decode(body, limits)
    assert audio.samples.dtype == np.int16
    assert audio.samples.ndim == 1
    return audio.samples


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


# --- damage


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


# --- refusals


NOT_AUDIO = {
    "text": b"hello, I am not audio at all\n" * 100,
    "one byte": b"\x00",
    "zeros": bytes(100_000),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "json": b'{"file": "UklGRg=="}',
    "zip": b"PK\x03\x04" + bytes(1000),
    "pdf": b"%PDF-1.7\n" + bytes(1000),
    "mp4 without its index": containers.stored(BY_NAME["m4a"], SECONDS)[:3000],
    "video only": containers.video(with_audio=False),
    "wav header alone": containers.wav(containers.tone(1.0))[:20],
}


@pytest.mark.parametrize("body", NOT_AUDIO.values(), ids=NOT_AUDIO.keys())
def test_what_is_not_audio_is_refused(body: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="not audio this server can decode") as caught:
        decode(body)
    assert (caught.value.status, caught.value.param) == (415, "file")


def test_nothing_and_no_samples_are_refused() -> None:
    with pytest.raises(InvalidAudio, match="empty"):
        decode(b"")
    with pytest.raises(InvalidAudio, match="without any audio samples"):
        decode(containers.riff(b"", channels=1))


@pytest.mark.parametrize(("rate", "channels"), [(1, 1), (3999, 1), (MAX_SAMPLE_RATE + 1, 1), (16_000, 33)])
def test_absurd_rates_and_channel_counts_are_refused(rate: int, channels: int) -> None:
    body = bytearray(containers.wav(containers.tone(1.0)))
    struct.pack_into("<HI", body, 22, channels, rate)
    struct.pack_into("<IH", body, 28, min(2 * rate * channels, 2**32 - 1), 2 * channels)
    with pytest.raises(UnsupportedMedia, match=r"sample rate|channels"):
        decode(body)


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(TooLarge, match="1000 bytes, this server takes at most 999"):
        decode(bytes(1000), Limits(max_upload_bytes=999))


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container.name)
def test_too_long_is_refused_naming_both_lengths(container: Container) -> None:
    body = containers.stored(container, SECONDS)
    with pytest.raises(TooLarge, match=r"lasts (3|more than 1) s, this server takes at most 1 s"):
        decode(body, Limits(max_audio_seconds=1))


def test_the_limit_itself_is_allowed() -> None:
    body = containers.wav(containers.tone(2.0))
    assert len(decode(body, Limits(max_audio_seconds=2.0))) == 32_000
    with pytest.raises(TooLarge, match=r"more than 1\.99 s"):
        decode(body, Limits(max_audio_seconds=1.99))


# --- bombs: each in a process of its own, whose peak memory is read


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


# --- nothing but the upload is read


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A listening socket's port, and what connects to it says."""
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stop = threading.Event()

        def accept() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(0.5)
                    said.append(connection.recv(100))

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], said
        stop.set()
        thread.join(timeout=5)


def playlists(port: int, secret: Path) -> dict[str, bytes]:
    url, path = f"http://127.0.0.1:{port}/a.wav", str(secret)
    dash = f"""<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>
        <AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL>
        <SegmentBase/></Representation></AdaptationSet></Period></MPD>"""
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    return {
        "hls to an address": hls.format(url).encode(),
        "hls to a file": hls.format(f"file://{path}").encode(),
        "hls to a bare path": hls.format(path).encode(),
        "concat to an address": f"ffconcat version 1.0\nfile '{url}'\n".encode(),
        "concat to a file": f"ffconcat version 1.0\nfile '{path}'\n".encode(),
        "sdp": sdp.encode(),
        "dash": dash.encode(),
        "m3u": f"{url}\n".encode(),
    }


def test_playlists_open_neither_files_nor_addresses(
    listener: tuple[int, list[bytes]], tmp_path: Path
) -> None:
    port, said = listener
    secret = tmp_path / "secret.wav"
    secret.write_bytes(containers.wav(containers.tone(1.0)))
    for name, body in playlists(port, secret).items():
        with pytest.raises(UnsupportedMedia):
            pytest.fail(f"{name} gave {media.decode(body, LIMITS)}")
    time.sleep(0.3)
    assert said == []


def test_a_quicktime_reference_is_not_followed(listener: tuple[int, list[bytes]]) -> None:
    port, said = listener
    body = bytearray(containers.stored(BY_NAME["mov_pcm"], SECONDS))
    url = f"http://127.0.0.1:{port}/a.wav\0".encode()
    dref = body.find(b"url \x00\x00\x00\x01")
    assert dref > 0
    body[dref + 7] = 0  # not "in this file": the reference counts
    body += url
    with contextlib.suppress(AsrError):
        decode(body)
    time.sleep(0.3)
    assert said == []


def test_only_formats_that_hold_their_own_audio_are_allowed() -> None:
    allowed = set(FORMATS.split(","))
    assert not allowed & {
        "hls",
        "concat",
        "dash",
        "sdp",
        "rtsp",
        "image2",
        "lavfi",
        "tee",
        "imf",
        "applehttp",
        "rtp",
    }


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
