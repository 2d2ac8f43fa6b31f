"""OpenAI's own client, unmodified, in every way that it can open a stream."""

from __future__ import annotations

import base64
from typing import Any

import openai
import pytest

from tests.gateway.realtime.streams import CHUNK_BYTES, silence_pcm, speech_pcm
from tests.gateway.served import Gateway

LAST = "conversation.item.input_audio_transcription.completed"
QUERIES: list[dict[str, Any]] = [
    {"extra_query": {"intent": "transcription"}},
    {"model": "gpt-4o-transcribe"},
    {"model": "whisper-1", "extra_query": {"intent": "transcription"}},
]


def chunks(pcm: bytes) -> list[str]:
    return [
        base64.b64encode(pcm[first : first + CHUNK_BYTES]).decode()
        for first in range(0, len(pcm), CHUNK_BYTES)
    ]


def check(events: list[Any]) -> None:
    """A clean run of one turn, whose deltas are the beginning of its transcript."""
    completed = events[-1]
    assert completed.type == LAST and completed.transcript
    assert completed.usage.type == "duration" and completed.usage.seconds > 0
    assert not [event for event in events if event.type == "error"]
    deltas = "".join(event.delta for event in events if event.type.endswith(".delta"))
    assert completed.transcript.startswith(deltas) and deltas
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {completed.item_id}


@pytest.mark.parametrize("query", QUERIES)
def test_a_turn_that_the_server_finds(live: Gateway, query: dict[str, Any]) -> None:
    events: list[Any] = []
    with (
        openai.OpenAI(api_key="none", base_url=f"{live.url}/v1") as client,
        client.realtime.connect(**query) as connection,
    ):
        assert connection.recv().type == "session.created"
        connection.session.update(
            session={
                "type": "transcription",
                "audio": {
                    "input": {
                        "transcription": {"model": "whisper-1", "language": "en"},
                        "turn_detection": {"type": "server_vad", "silence_duration_ms": 350},
                    }
                },
            }
        )
        updated = connection.recv()
        assert updated.type == "session.updated"
        for chunk in chunks(speech_pcm(0, 2.2) + silence_pcm(1.0)):
            connection.input_audio_buffer.append(audio=chunk)
        for event in connection:
            events.append(event)
            if event.type == LAST:
                break
    check(events)
    assert [event.type for event in events[:1]] == ["input_audio_buffer.speech_started"]


async def test_a_turn_that_an_asynchronous_client_commits(live: Gateway) -> None:
    events: list[Any] = []
    async with (
        openai.AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1") as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        await connection.session.update(
            session={"type": "transcription", "audio": {"input": {"turn_detection": None}}}
        )
        for chunk in chunks(speech_pcm(0, 2.0)):
            await connection.input_audio_buffer.append(audio=chunk)
        await connection.input_audio_buffer.commit()
        async for event in connection:
            events.append(event)
            if event.type == LAST:
                break
    check(events)


def test_the_beta_client(live: Gateway) -> None:
    events: list[Any] = []
    address = f"{live.url.replace('http', 'ws', 1)}/v1"
    with (
        openai.OpenAI(api_key="none", base_url=f"{live.url}/v1", websocket_base_url=address) as client,
        client.beta.realtime.connect(model="gpt-4o-transcribe") as connection,
    ):
        assert connection.recv().type == "session.created"
        connection.transcription_session.update(
            session={"input_audio_transcription": {"model": "whisper-1"}, "input_audio_format": "pcm16"}
        )
        assert connection.recv().type == "transcription_session.updated"
        for chunk in chunks(speech_pcm(0, 2.2) + silence_pcm(1.0)):
            connection.input_audio_buffer.append(audio=chunk)
        for event in connection:
            events.append(event)
            if event.type == LAST:
                break
    types = [event.type for event in events]
    assert "conversation.item.created" in types and "error" not in types
    assert getattr(events[-1], "transcript", "")  # its type is older than `usage`
