"""A turn's transcript is what the HTTP door answers for the same audio: the fake model names every sample."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx2
import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.realtime.streams import RATE, Client, speech_pcm, stream, wav_of
from tests.gateway.served import Gateway, settings_for


@pytest.fixture(scope="module")
def naming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose model writes a text that other samples would not have."""
    spool = tmp_path_factory.mktemp("spool")
    with (
        FakeTorchServe(delay_s=0.005, keep_windows=False) as fake,
        Gateway(settings_for(fake, spool)) as gateway,
    ):
        yield gateway


def uploaded(gateway: Gateway, file: Path, **fields: Any) -> dict[str, Any]:
    answer = httpx2.post(
        f"{gateway.url}/v1/audio/transcriptions",
        files={"file": file.read_bytes()},
        data=fields,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    fields_of_answer: dict[str, Any] = answer.json()
    return fields_of_answer


def compare(client: Client, answer: dict[str, Any]) -> None:
    completed = client.until(".completed")
    assert completed["transcript"] == answer["text"] and answer["text"]
    assert completed["usage"] == answer["usage"]
    assert completed["languages"] == answer["languages"]


@pytest.mark.parametrize(("start_s", "end_s"), [(0, 5), (2.5, 16)])
def test_of_pcm(naming: Gateway, tmp_path: Path, start_s: float, end_s: float) -> None:
    pcm = speech_pcm(start_s, end_s)
    answer = uploaded(naming, wav_of(pcm, tmp_path / "turn.wav"))
    with stream(naming.url) as client:
        client.update(turn_detection=None)
        client.speak(pcm)
        client.commit()
        compare(client, answer)


def test_of_a_turn_of_several_windows_with_a_prompt(naming: Gateway, tmp_path: Path) -> None:
    pcm = speech_pcm() * 3
    answer = uploaded(
        naming, wav_of(pcm, tmp_path / "turn.wav"), language="en", prompt="Beer", hotwords="odor"
    )
    with stream(naming.url) as client:
        client.update(
            turn_detection=None, transcription={"language": "en", "prompt": "Beer", "keywords": ["odor"]}
        )
        client.append(pcm)
        client.commit()
        compare(client, answer)


@pytest.mark.parametrize(("form", "codec"), [("audio/pcmu", "mulaw"), ("audio/pcma", "alaw")])
def test_of_telephone_sound(naming: Gateway, tmp_path: Path, form: str, codec: str) -> None:
    codes = telephone(speech_pcm(0, 4), codec)
    file = tmp_path / "turn.wav"
    file.write_bytes(wav_of_codes(codes, 7 if codec == "mulaw" else 6))
    answer = uploaded(naming, file)
    with stream(naming.url) as client:
        client.update(turn_detection=None, format={"type": form})
        for first in range(0, len(codes), 160):
            client.append(codes[first : first + 160])
        client.commit()
        compare(client, answer)


def telephone(pcm: bytes, codec: str) -> bytes:
    """16-bit PCM at 24 kHz → G.711 at 8 kHz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(pcm)
    buffer.seek(0)
    encoder = av.CodecContext.create(f"pcm_{codec}", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 8_000, "mono", av.AudioFormat("s16")
    resampler = av.AudioResampler("s16", "mono", 8_000)
    with av.open(buffer, "r") as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    packets = [bytes(packet) for frame in frames for packet in encoder.encode(frame)]
    return b"".join(packets)


def wav_of_codes(codes: bytes, tag: int) -> bytes:
    """G.711 as a WAV file; the wave module writes PCM alone."""
    kind = (tag).to_bytes(2, "little") + b"\x01\x00" + (8_000).to_bytes(4, "little") * 2 + b"\x01\x00\x08\x00"
    size = len(codes).to_bytes(4, "little")
    body = b"WAVEfmt " + len(kind).to_bytes(4, "little") + kind + b"data" + size + codes
    return b"RIFF" + len(body).to_bytes(4, "little") + body
