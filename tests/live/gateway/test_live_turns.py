"""Streams before a real TorchServe with tiny.en: a recording's words while it is spoken, and behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jiwer
import pytest

from tests.gateway.realtime.streams import CHUNK_BYTES, Client, silence_pcm, speech_pcm, stream, wav_of
from tests.gateway.served import Gateway, settings_for
from tests.live.gateway.test_api import Upstream
from tests.servers import Server, start_server
from tests.weights import real_checkpoint
from whisper_client.scoring import normalised

ROOT = Path(__file__).resolve().parents[3]
HARVARD, JFK = ROOT / "samples" / "harvard.wav", ROOT / "samples" / "jfk.flac"
CHUNK_S = 0.05

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.weights]


@pytest.fixture(scope="module")
def torchserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tiny = real_checkpoint("tiny.en")
    with start_server(tiny, tmp_path_factory.mktemp("torchserve"), sample=HARVARD) as server:
        yield server


@pytest.fixture(scope="module")
def live(torchserve: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    upstream = Upstream(torchserve.url, torchserve.management)
    with Gateway(settings_for(upstream, tmp_path_factory.mktemp("spool"))) as gateway:
        yield gateway


def uploaded(gateway: Gateway, pcm: bytes, folder: Path) -> dict[str, Any]:
    with wav_of(pcm, folder / "turn.wav").open("rb") as file:
        url = f"{gateway.url}/v1/audio/transcriptions"
        answer: dict[str, Any] = httpx2.post(url, files={"file": file}, timeout=120).json()
    return answer


def talk(client: Client, pcm: bytes, slowness: float) -> None:
    """At the speed of speech, or slower by this factor: a busy machine has to look at the turn in time."""
    began_at = time.monotonic()
    for index, first in enumerate(range(0, len(pcm), CHUNK_BYTES)):
        time.sleep(max(0.0, began_at + index * CHUNK_S * slowness - time.monotonic()))
        client.append(pcm[first : first + CHUNK_BYTES])


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 5.3), (0.0, None)])
def test_a_committed_turn_is_answered_as_its_upload(
    live: Gateway, tmp_path: Path, start_s: float, end_s: float | None
) -> None:
    pcm = speech_pcm(start_s, end_s)
    answer = uploaded(live, pcm, tmp_path)
    with stream(live.url) as client:
        client.update(turn_detection=None)
        client.append(pcm)
        client.commit()
        completed = client.until(".completed", 60)
    assert completed["transcript"] == answer["text"] and answer["text"]
    assert completed["usage"] == answer["usage"] and completed["languages"] == answer["languages"]


def test_speech_is_found_and_written_while_it_is_spoken(live: Gateway, tmp_path: Path) -> None:
    reference = normalised(JFK.with_suffix(".txt").read_text(encoding="utf-8"))
    began_at = time.monotonic()
    uploaded(live, speech_pcm(file=JFK), tmp_path)
    slowness = min(max(1.0, 1.5 * (time.monotonic() - began_at)), 6.0)
    with stream(live.url) as client:
        client.update(transcription={"language": "en"})
        talk(client, speech_pcm(file=JFK) + silence_pcm(1.5), slowness)
        client.rest(4.0 * slowness)
    items = [event["item_id"] for event in client.events if event["type"].endswith("committed")]
    finals = {e["item_id"]: e["transcript"] for e in client.events if e["type"].endswith(".completed")}
    assert list(finals) == items and "error" not in client.types
    assert jiwer.wer(reference, normalised(" ".join(finals.values()))) <= 0.1
    deltas = " ".join(client.deltas(item_id) for item_id in items)
    assert jiwer.wer(reference, normalised(deltas)) <= 0.25
    first = client.types.index("conversation.item.input_audio_transcription.delta")
    item_id = client.events[first]["item_id"]
    stopped = client.events.index(
        next(e for e in client.events if "audio_end_ms" in e and e["item_id"] == item_id)
    )
    assert first < stopped, "no word was settled before its turn ended"


def test_silence_says_nothing(live: Gateway) -> None:
    with stream(live.url) as client:
        client.append(silence_pcm(20.0))
        assert client.rest(1.0) == []
        client.update(turn_detection=None)
        client.append(silence_pcm(5.0))
        client.commit()
        assert client.until(".completed", 60)["transcript"] == ""
