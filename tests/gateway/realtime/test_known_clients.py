"""The frames of clients that are too heavy for these requirements, as they send them.

docs/live.md says which of them were run. Each takes an `error` for the end of its stream.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.gateway.realtime.conftest import OpenStream
from tests.gateway.realtime.streams import CHUNK_BYTES, Client, silence_pcm, speech_pcm

LIVEKIT: dict[str, Any] = {
    "type": "transcription",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "gpt-4o-transcribe", "prompt": "", "language": "en"},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 600,
                "silence_duration_ms": 350,
            },
        }
    },
}


def send_together(client: Client, *events: dict[str, Any]) -> None:
    """Without a wait for any answer."""
    for event in events:
        client.socket.send(json.dumps(event))


def appends(pcm: bytes) -> list[dict[str, Any]]:
    return [
        {
            "type": "input_audio_buffer.append",
            "audio": base64.b64encode(pcm[first : first + CHUNK_BYTES]).decode(),
        }
        for first in range(0, len(pcm), CHUNK_BYTES)
    ]


def test_livekit_sends_audio_behind_its_update_and_uses_the_socket_again(open_stream: OpenStream) -> None:
    turn = appends(speech_pcm(0, 2.2) + silence_pcm(0.8))
    with open_stream("intent=transcription&model=gpt-4o-transcribe") as client:
        send_together(client, {"type": "session.update", "session": LIVEKIT}, *turn)
        completed = client.until(".completed")
        assert completed["usage"]["type"] == "duration" and completed["languages"] == [{"code": "en"}]
        german = json.loads(json.dumps(LIVEKIT).replace('"en"', '"de"'))
        send_together(client, {"type": "session.update", "session": german}, *turn)
        assert client.until(".completed")["languages"] == [{"code": "de"}]
    assert "error" not in client.types
    types = [kind for kind in client.types if not kind.endswith(".delta")]
    assert types[1:3] == ["session.updated", "input_audio_buffer.speech_started"]


def test_livekit_commits_by_itself_for_live_models_and_omits_the_detection(open_stream: OpenStream) -> None:
    session: dict[str, Any] = json.loads(
        json.dumps(LIVEKIT).replace("gpt-4o-transcribe", "gpt-realtime-whisper")
    )
    del session["audio"]["input"]["turn_detection"]
    with open_stream("intent=transcription&model=gpt-realtime-whisper") as client:
        send_together(client, {"type": "session.update", "session": session})
        send_together(client, *appends(speech_pcm(0, 2.2) + silence_pcm(0.8)))
        send_together(client, {"type": "input_audio_buffer.commit"})
        client.until(".completed")
    assert not [kind for kind in client.types if "speech" in kind or kind == "error"]


def test_pipecat_sends_audio_before_its_update_and_commits(open_stream: OpenStream) -> None:
    session = {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "gpt-realtime-whisper", "language": "en"},
                "turn_detection": None,
                "noise_reduction": {"type": "near_field"},
            }
        },
    }
    pcm = speech_pcm(0, 2.2)
    with open_stream() as client:
        send_together(client, *appends(pcm[:48_000]), {"type": "session.update", "session": session})
        send_together(client, *appends(pcm[48_000:]), {"type": "input_audio_buffer.commit"})
        completed = client.until(".completed")
    assert completed["usage"]["seconds"] == 3 and "error" not in client.types
    assert client.types.count("input_audio_buffer.committed") == 1


def test_openai_agents_asks_for_semantic_detection(open_stream: OpenStream) -> None:
    session = {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "gpt-4o-transcribe"},
                "turn_detection": {"type": "semantic_vad"},
            }
        },
    }
    with open_stream() as client:
        send_together(client, {"type": "session.update", "session": session})
        shown = client.until("session.updated")["session"]["audio"]["input"]["turn_detection"]
        assert shown == {"type": "semantic_vad", "eagerness": "auto"}
        send_together(client, *appends(speech_pcm(0, 2.2) + silence_pcm(4.5)))
        assert client.until(".completed")["transcript"]
    assert "error" not in client.types
