"""What a client is sent while it speaks, and in which order."""

from __future__ import annotations

import pytest

from tests.gateway.process.running import until
from tests.gateway.realtime.conftest import OpenStream
from tests.gateway.realtime.streams import Client, silence_pcm, speech_pcm, stream
from tests.gateway.served import Gateway

BUFFER = "input_audio_buffer"
ITEM = "conversation.item"
TRANSCRIPTION = f"{ITEM}.input_audio_transcription"
COMMIT = [f"{BUFFER}.committed", f"{ITEM}.added", f"{ITEM}.done"]


def without_deltas(client: Client) -> list[str]:
    return [kind for kind in client.types if not kind.endswith(".delta")]


def of_item(client: Client, item_id: str) -> list[str]:
    """The types of an item's events."""
    return [
        event["type"]
        for event in client.events
        if item_id in (event.get("item_id"), event.get("item", {}).get("id"))
    ]


def test_a_turn_that_the_server_finds(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.speak(silence_pcm(0.5) + speech_pcm(0, 2.2) + silence_pcm(1.0))
        completed = client.until(".completed")
    assert without_deltas(client) == [
        "session.created",
        f"{BUFFER}.speech_started",
        f"{BUFFER}.speech_stopped",
        *COMMIT,
        f"{TRANSCRIPTION}.completed",
    ]
    assert {event["item_id"] for event in client.events if "item_id" in event} == {completed["item_id"]}
    assert completed["usage"]["type"] == "duration" and completed["usage"]["seconds"] >= 2
    assert completed["languages"] == [{"code": "en"}]
    assert completed["transcript"].startswith(client.deltas(completed["item_id"]))
    assert len({event["event_id"] for event in client.events}) == len(client.events)


def test_speech_starts_with_its_prefix_and_stops_with_its_silence(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection={"prefix_padding_ms": 200, "silence_duration_ms": 700})
        client.speak(silence_pcm(1.0) + speech_pcm(0.45, 2.2) + silence_pcm(1.5))
        started = client.until(".speech_started")["audio_start_ms"]
        stopped = client.until(".speech_stopped")["audio_end_ms"]
    assert 700 <= started <= 1_100
    assert 2_750 + 500 <= stopped <= 2_750 + 900


def test_a_turn_that_the_client_commits(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        client.speak(speech_pcm(0, 2.0) + silence_pcm(2.0))
        client.commit()
        client.until(".completed")
    assert without_deltas(client) == [
        "session.created",
        "session.updated",
        *COMMIT,
        f"{TRANSCRIPTION}.completed",
    ]


def test_every_turn_names_the_one_before_it_and_is_answered_in_order(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        for end_s in (6, 1, 3):
            client.append(speech_pcm(0, end_s))
            client.commit()
        for _ in range(3):
            client.until(".completed")
    committed = [event for event in client.events if event["type"].endswith("committed")]
    ids = [event["item_id"] for event in committed]
    assert [event["previous_item_id"] for event in committed] == [None, *ids[:2]]
    assert [event["item_id"] for event in client.events if event["type"].endswith(".completed")] == ids
    for item_id in ids:
        assert of_item(client, item_id)[:3] == COMMIT


def test_a_commit_while_the_server_detects_ends_the_turn(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.speak(speech_pcm(0, 1.5))
        started = client.until(".speech_started")
        client.commit()
        assert client.until(".committed")["item_id"] == started["item_id"]
        client.until(".completed")
        assert f"{BUFFER}.speech_stopped" not in client.types


def test_silence_is_completed_with_no_text(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        client.append(silence_pcm(2.0))
        client.commit()
        completed = client.until(".completed")
    assert completed["transcript"] == "" and "languages" not in completed
    assert completed["usage"] == {"type": "duration", "seconds": 2}
    assert "delta" not in "".join(client.types)


@pytest.mark.parametrize("seconds", [35, 70])
def test_a_turn_longer_than_a_window_is_cut_without_a_seam(open_stream: OpenStream, seconds: int) -> None:
    speech = speech_pcm(0.5, 2.4)  # without a pause that would end a turn
    pcm = (speech * (seconds // 2 + 1))[: seconds * 48_000]
    with open_stream() as client:
        client.update(transcription={"delay": "xhigh"})
        client.append(pcm + silence_pcm(1.0))
        parts = seconds // 30 + 1
        for _ in range(parts):
            client.until(".completed", 30)
    starts = [e["audio_start_ms"] for e in client.events if "audio_start_ms" in e]
    ends = [e["audio_end_ms"] for e in client.events if "audio_end_ms" in e]
    assert len(starts) == len(ends) == parts
    assert starts[1:] == ends[:-1]
    assert all(25_000 <= end - start <= 30_000 for start, end in zip(starts[:-1], ends[:-1], strict=True))


def test_clear_drops_the_turn(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        client.append(speech_pcm(0, 3.0))
        client.send(f"{BUFFER}.clear")
        client.until(".cleared")
        client.append(speech_pcm(0, 1.0))
        client.commit()
        assert client.until(".completed")["usage"]["seconds"] == 1
        client.send(f"{BUFFER}.clear")
        client.send(f"{BUFFER}.clear")
        assert [event["type"] for event in client.rest()] == [f"{BUFFER}.cleared"] * 2


def test_items_can_be_retrieved_and_deleted(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        client.append(speech_pcm(0, 1.0))
        client.commit()
        completed = client.until(".completed")
        item_id = completed["item_id"]
        client.send(f"{ITEM}.retrieve", item_id=item_id)
        shown = client.until(".retrieved")["item"]
        assert shown["content"] == [{"type": "input_audio", "transcript": completed["transcript"]}]
        client.send(f"{ITEM}.delete", item_id=item_id)
        assert client.until(".deleted")["item_id"] == item_id
        client.send(f"{ITEM}.retrieve", item_id=item_id, event_id="mine")
        error = client.until("error")["error"]
        assert (error["code"], error["event_id"]) == ("item_not_found", "mine")


def test_an_odd_byte_waits_for_its_other_half(open_stream: OpenStream) -> None:
    pcm = speech_pcm(0, 2.0)
    texts = []
    for size in (4_800, 4_801):
        with open_stream() as client:
            client.update(turn_detection=None)
            for first in range(0, len(pcm), size):
                client.append(pcm[first : first + size])
            client.commit()
            texts.append(client.until(".completed"))
    assert texts[0]["transcript"] == texts[1]["transcript"]
    assert texts[0]["usage"] == texts[1]["usage"] == {"type": "duration", "seconds": 2}


def test_turns_stay_in_place_after_many_clears(open_stream: OpenStream) -> None:
    with open_stream() as client:
        for _ in range(60):
            client.append(speech_pcm(0, 0.05))
            client.send(f"{BUFFER}.clear")
        client.speak(silence_pcm(0.5) + speech_pcm(0.45, 2.2) + silence_pcm(1.0))
        completed = client.until(".completed")
        stopped = next(event for event in client.events if "audio_end_ms" in event)
    assert completed["transcript"]
    assert 3_000 + 500 + 1_750 <= stopped["audio_end_ms"] <= 3_000 + 3_250


def test_nothing_is_left_of_turns_that_end_at_once(live: Gateway) -> None:
    with stream(live.url) as client:
        client.update(turn_detection=None)
        for _ in range(20):
            client.append(speech_pcm(0, 0.2))
            client.commit()
        for _ in range(20):
            client.until(".completed")
    dispatcher = live.service.fleet.default.dispatcher
    until(lambda: not dispatcher._queue.is_live, "a live session stays open")
