"""Streams before a real TorchServe with tiny.en: the words of a recording, while it is spoken and behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from score import normalised
from tests.gateway.realtime.streams import CHUNK_BYTES, Client, silence_pcm, speech_pcm, stream, wav_of
from tests.gateway.served import Gateway, settings_for
from tests.live.gateway.test_api import Upstream
from tests.servers import Server, start_server
from tests.weights import real_checkpoint

ROOT = Path(__file__).resolve().parents[3]
HARVARD = ROOT / "samples" / "harvard.wav"
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


def talk(client: Client, pcm: bytes) -> None:
    began_at = time.monotonic()
    for index, first in enumerate(range(0, len(pcm), CHUNK_BYTES)):
        time.sleep(max(0.0, began_at + index * CHUNK_S - time.monotonic()))
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


def test_speech_is_found_and_written_while_it_is_spoken(live: Gateway) -> None:
    reference = normalised(HARVARD.with_suffix(".txt").read_text(encoding="utf-8"))
    with stream(live.url) as client:
        client.update(transcription={"language": "en"}, turn_detection={"silence_duration_ms": 400})
        talk(client, speech_pcm() + silence_pcm(1.5))
        items = [event["item_id"] for event in client.rest(3.0) if event["type"].endswith("committed")]
    finals = {e["item_id"]: e["transcript"] for e in client.events if e["type"].endswith(".completed")}
    assert list(finals) == items and "error" not in client.types
    assert normalised(" ".join(finals.values())) == reference
    early = [
        event
        for index, event in enumerate(client.events)
        if event["type"].endswith(".delta")
        and f"committed {event['item_id']}"
        not in {f"committed {e['item_id']}" for e in client.events[:index] if e["type"].endswith("committed")}
    ]
    assert early, "no word was settled before its turn ended"
    for item_id, transcript in finals.items():
        settled = normalised("".join(e["delta"] for e in early if e["item_id"] == item_id))
        assert normalised(transcript).startswith(settled)


def test_silence_says_nothing(live: Gateway) -> None:
    with stream(live.url) as client:
        client.append(silence_pcm(20.0))
        assert client.rest(1.0) == []
        client.update(turn_detection=None)
        client.append(silence_pcm(5.0))
        client.commit()
        assert client.until(".completed", 60)["transcript"] == ""
