"""The text of a turn while it is spoken, at the pace of speech."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from asr.schema import Hypothesis, Window
from tests.gateway.fake_hypotheses import TOKENIZER
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.realtime.conftest import OpenStream, StartGateway
from tests.gateway.realtime.streams import CHUNK_BYTES, Client, counted, silence_pcm, speech_pcm, stream

pytestmark = pytest.mark.slow
CHUNK_S = 0.05


def talk(client: Client, pcm: bytes) -> None:
    """Sends the audio as fast as it is spoken."""
    began_at = time.monotonic()
    for index, first in enumerate(range(0, len(pcm), CHUNK_BYTES)):
        time.sleep(max(0.0, began_at + index * CHUNK_S - time.monotonic()))
        client.append(pcm[first : first + CHUNK_BYTES])


def unpunctuated(window: Window) -> Hypothesis:
    """As `counted`, without the full stop."""
    hypothesis = counted(window)
    stop = TOKENIZER.encode(".")[0]
    return replace(hypothesis, tokens=tuple(token for token in hypothesis.tokens if token != stop))


def test_words_come_before_the_commit_under_its_item(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        talk(client, speech_pcm(0.4, 4.4))
        client.commit()
        item_id = client.until(".committed")["item_id"]
        settled = client.deltas(item_id)
        completed = client.until(".completed")
    assert completed["item_id"] == item_id
    assert len(settled.split()) >= 8, "most of thirteen words"
    assert completed["transcript"].startswith(settled)
    assert client.deltas(item_id) == completed["transcript"]


@pytest.mark.parametrize(("delay", "least", "most"), [("minimal", 9, 14), ("high", 1, 9), ("xhigh", 0, 0)])
def test_the_delay_chooses_how_soon(open_stream: OpenStream, delay: str, least: int, most: int) -> None:
    with open_stream() as client:
        client.update(turn_detection=None, transcription={"delay": delay})
        talk(client, speech_pcm(0.4, 4.4))
        client.commit()
        item_id = client.until(".committed")["item_id"]
        settled = client.deltas(item_id)
        completed = client.until(".completed")
    assert least <= len(settled.split()) <= most
    assert completed["transcript"].rstrip(".").startswith(settled.replace(".", ""))


def test_a_final_that_says_something_else_replaces_the_deltas(start: StartGateway) -> None:
    def changing(window: Window) -> Hypothesis:
        hypothesis = counted(window)
        if len(window.samples) < 48_000:
            return hypothesis
        begin = TOKENIZER.timestamp_begin
        return replace(
            hypothesis, tokens=(begin, *TOKENIZER.encode(" Other words."), begin + window.num_frames // 2)
        )

    with FakeTorchServe(delay_s=0.005, keep_windows=False) as fake:
        fake.hypothesis = changing
        with stream(start(fake).url) as client:
            client.update(turn_detection=None)
            talk(client, speech_pcm(0.4, 3.9))
            client.commit()
            item_id = client.until(".committed")["item_id"]
            settled = client.deltas(item_id)
            completed = client.until(".completed")
    assert settled and completed["transcript"] == "Other words."
    assert client.deltas(item_id) == settled, "nothing is added to what is replaced"


@pytest.mark.parametrize(("has_stop", "least_ms", "most_ms"), [(True, 300, 1_000), (False, 1_900, 2_100)])
def test_semantic_detection_waits_less_behind_a_sentence(
    start: StartGateway, has_stop: bool, least_ms: int, most_ms: int
) -> None:
    with FakeTorchServe(delay_s=0.005, keep_windows=False) as fake:
        fake.hypothesis = counted if has_stop else unpunctuated
        with stream(start(fake).url) as client:
            client.update(turn_detection={"type": "semantic_vad", "eagerness": "high"})
            talk(client, speech_pcm(0.4, 2.4) + silence_pcm(2.6))
            stopped = client.until(".speech_stopped")
            client.until(".completed")
    silence_ms = stopped["audio_end_ms"] - 2_000
    assert least_ms - 300 <= silence_ms <= most_ms + 100


def test_without_room_partials_are_skipped_and_no_word_is(start: StartGateway) -> None:
    """The only worker is taken by others' windows, the whole time."""
    with FakeTorchServe(delay_s=0.6, batch_size=1, keep_windows=False) as fake:
        fake.hypothesis = counted
        gateway = start(fake, upstream={"batches_outstanding": 1.0})
        with stream(gateway.url) as one, stream(gateway.url) as other:
            finals: list[dict[str, Any]] = []
            for client in (one, other):
                client.update(turn_detection=None)
            pcm = speech_pcm(0.4, 4.4)
            began_at = time.monotonic()
            for index, first in enumerate(range(0, len(pcm), CHUNK_BYTES)):
                time.sleep(max(0.0, began_at + index * CHUNK_S - time.monotonic()))
                for client in (one, other):
                    client.append(pcm[first : first + CHUNK_BYTES])
            for client in (one, other):
                client.commit()
                finals.append(client.until(".completed"))
                assert "error" not in client.types
        text = gateway.service.metrics.exposition().decode()
    assert [len(final["transcript"].split()) for final in finals] == [13, 13]
    skipped = next(line for line in text.splitlines() if 'live_partials_total{outcome="skipped"}' in line)
    assert float(skipped.split()[-1]) >= 2
