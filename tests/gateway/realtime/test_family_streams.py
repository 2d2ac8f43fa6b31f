"""Streams of a family beside Whisper: its words while they are spoken, and its own ends of turns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from asr.schema import Hypothesis, Window
from tests.asr.piece_hypotheses import STREAMING, spoken
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.realtime.conftest import StartGateway
from tests.gateway.realtime.streams import CHUNK_BYTES, Client, Event, speech_pcm, stream

pytestmark = pytest.mark.slow

SPEECH = speech_pcm(0.4, 3.4)


@pytest.fixture
def family() -> Iterator[FakeTorchServe]:
    with FakeTorchServe(delay_s=0.005) as fake:
        fake.unlike = {"whisper": (STREAMING, spoken)}
        yield fake


def talk_until(client: Client, kind: str, count: int = 1) -> Event:
    """Speaks, for as long as it takes, until `count` events of this kind have come; the last of them."""
    chunks = itertools.cycle(range(0, len(SPEECH), CHUNK_BYTES))
    while len(events := events_of(client, kind)) < count:
        first = next(chunks)
        client.append(SPEECH[first : first + CHUNK_BYTES])
        client.rest(0.05)
    return events[-1]


def events_of(client: Client, kind: str) -> list[Event]:
    return [event for event in client.events if event["type"].endswith(kind)]


def test_words_come_while_they_are_spoken_and_each_look_continues_the_one_before(
    family: FakeTorchServe, start: StartGateway
) -> None:
    gateway = start(family)
    with stream(gateway.url) as client:
        client.update(turn_detection=None)
        item_id = talk_until(client, ".delta", 2)["item_id"]
        client.commit()
        client.until(".committed")
        settled = client.deltas(item_id)
        completed = client.until(".completed")
    assert settled.split()[:2] == ["ek", "do"] and completed["transcript"].startswith(settled)
    looks = [window for window in family.windows if window.options.is_open]
    assert len(looks) >= 2 and len(family.windows) > len(looks)
    assert all(longer.num_frames > shorter.num_frames for shorter, longer in itertools.pairwise(looks))


def test_the_models_own_rules_end_a_turn(family: FakeTorchServe, start: StartGateway) -> None:
    """They say so behind two seconds; our silence, which never comes here, would not."""

    def ending(window: Window) -> Hypothesis:
        return replace(spoken(window), is_endpoint=window.options.is_open and window.num_frames > 200)

    family.unlike = {"whisper": (replace(STREAMING, ends_turns=True), ending)}
    gateway = start(family)
    with stream(gateway.url) as client:
        stopped = talk_until(client, ".speech_stopped")
        [completed, *_] = events_of(client, ".completed") or [client.until(".completed")]
    assert stopped["audio_end_ms"] >= 2_000
    assert completed["item_id"] == stopped["item_id"] and completed["transcript"].startswith("ek do tin")


def test_what_such_a_model_cannot_do_is_an_error_of_the_update(
    family: FakeTorchServe, start: StartGateway
) -> None:
    gateway = start(family)
    with stream(gateway.url) as client:
        client.send("session.update", session={"audio": {"input": {"transcription": {"prompt": "Asha"}}}})
        error = client.until("error")["error"]
    assert error["param"] == "session.audio.input.transcription.prompt"
    assert "not with this model" in error["message"]
