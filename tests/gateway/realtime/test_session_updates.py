"""How a stream is configured: leaf by leaf, all or nothing, and shown whole."""

from __future__ import annotations

from typing import Any

import pytest

from asr.errors import InvalidOption
from gateway.realtime.dialects import stated
from gateway.realtime.session_config import effective, merged
from tests.gateway.realtime.conftest import OpenStream
from tests.gateway.realtime.streams import silence_pcm, speech_pcm

SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
}


def session(*inputs: dict[str, Any], model: str = "whisper-1") -> dict[str, Any]:
    """The effective input after these updates."""
    so_far: dict[str, Any] = {}
    for sound in inputs:
        so_far = merged(so_far, stated({"type": "transcription", "audio": {"input": sound}}))
    return effective(so_far, model).input.model_dump()


def test_the_first_event_shows_every_default(open_stream: OpenStream) -> None:
    with open_stream() as client:
        created = client.events[0]
    shown = created["session"]
    assert shown["id"].startswith("sess_") and shown["expires_at"] > 0
    assert (shown["object"], shown["type"]) == ("realtime.transcription_session", "transcription")
    assert shown["include"] is None
    assert shown["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "transcription": {"model": "fake", "language": None, "prompt": ""},
        "noise_reduction": None,
        "turn_detection": SERVER_VAD,
    }


def test_only_what_is_sent_changes() -> None:
    after = session(
        {"transcription": {"language": "de", "prompt": "Namen"}, "turn_detection": {"threshold": 0.7}},
        {"transcription": {"language": "en"}, "turn_detection": {"silence_duration_ms": 900}},
    )
    assert (after["transcription"]["language"], after["transcription"]["prompt"]) == ("en", "Namen")
    assert after["turn_detection"] == {**SERVER_VAD, "threshold": 0.7, "silence_duration_ms": 900}


def test_null_clears_a_leaf() -> None:
    after = session(
        {"transcription": {"language": "de", "prompt": "x"}, "noise_reduction": {"type": "far_field"}},
        {"transcription": {"language": None, "prompt": None}, "noise_reduction": None},
    )
    assert after["transcription"]["language"] is None and after["transcription"]["prompt"] == ""
    assert after["noise_reduction"] is None


def test_another_type_of_detection_replaces_the_old_one_whole() -> None:
    after = session(
        {"turn_detection": {"type": "server_vad", "threshold": 0.9}},
        {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}},
    )
    assert after["turn_detection"] == {"type": "semantic_vad", "eagerness": "high"}
    assert session({"turn_detection": {"threshold": 0.9}}, {"turn_detection": None})["turn_detection"] is None


def test_a_kept_strength_of_noise_reduction() -> None:
    after = session(
        {"noise_reduction": {"type": "near_field", "strength": 0.4}},
        {"noise_reduction": {"type": "far_field"}},
        {"noise_reduction": {"strength": 0.5}},
    )
    assert after["noise_reduction"] == {"type": "far_field", "strength": 0.5}


@pytest.mark.parametrize("model", ["gpt-realtime-whisper", "gpt-live-transcribe-2026"])
def test_models_that_take_turns_from_the_client_have_no_detection_unless_asked(model: str) -> None:
    assert session(model=model)["turn_detection"] is None
    assert session({"transcription": {"model": model}})["turn_detection"] is None
    explicit = session({"transcription": {"model": model}, "turn_detection": {"type": "server_vad"}})
    assert explicit["turn_detection"] == SERVER_VAD


def test_unknown_fields_are_ignored_and_those_of_the_client_shown(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.send(
            "session.update",
            session={
                "type": "realtime",
                "model": "gpt-realtime-1.5",
                "output_modalities": ["text"],
                "instructions": "Answer.",
                "audio": {
                    "output": {"voice": "marin"},
                    "input": {
                        "transcription": {"model": "gpt-4o-transcribe", "language": "en", "flavour": 1},
                        "turn_detection": None,
                    },
                },
            },
        )
        shown = client.until("session.updated")["session"]
    assert shown["type"] == "transcription"
    assert shown["audio"]["input"]["transcription"]["model"] == "gpt-4o-transcribe"
    assert shown["audio"]["input"]["turn_detection"] is None
    assert "error" not in client.types


@pytest.mark.parametrize(
    ("sound", "param", "code"),
    [
        ({"format": {"type": "audio/pcm", "rate": 16_000}}, "format.rate", "invalid_value"),
        ({"format": {"type": "audio/opus"}}, "format", "invalid_value"),
        (
            {"turn_detection": {"type": "server_vad", "threshold": 2}},
            "turn_detection.threshold",
            "invalid_value",
        ),
        ({"turn_detection": {"type": "magic"}}, "turn_detection", "invalid_value"),
        ({"transcription": {"model": "nobody-9"}}, "transcription.model", "invalid_model"),
        ({"transcription": {"language": "xx"}}, "transcription.language", "invalid_value"),
        ({"transcription": {"prompt": "<|endoftext|>"}}, "transcription.prompt", "invalid_value"),
        ({"transcription": {"delay": "none"}}, "transcription.delay", "invalid_value"),
    ],
)
def test_a_wrong_value_changes_nothing(
    open_stream: OpenStream, sound: dict[str, Any], param: str, code: str
) -> None:
    with open_stream() as client:
        client.update(transcription={"language": "en"})
        client.send(
            "session.update",
            event_id="wrong",
            session={"audio": {"input": {"noise_reduction": {"type": "near_field"}, **sound}}},
        )
        error = client.until("error")["error"]
        after = client.update()["audio"]["input"]
    assert (error["type"], error["code"], error["event_id"]) == ("invalid_request_error", code, "wrong")
    assert error["param"] == f"session.audio.input.{param}"
    assert after["noise_reduction"] is None and after["transcription"]["language"] == "en"


def test_audio_before_an_update_is_kept_when_detection_is_switched_off(
    open_stream: OpenStream,
) -> None:
    with open_stream() as client:
        client.append(speech_pcm(0, 1.5))
        client.update(turn_detection=None)
        client.append(speech_pcm(1.5, 3.0) + silence_pcm(2.0))
        client.commit()
        completed = client.until(".completed")
    assert completed["usage"]["seconds"] == 5
    assert client.types.count("input_audio_buffer.committed") == 1
    assert "input_audio_buffer.speech_stopped" not in client.types


def test_the_configuration_of_a_turn_is_that_of_its_commit(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None, transcription={"language": "de"})
        client.append(speech_pcm(0, 1.0))
        client.commit()
        client.update(transcription={"language": "fr"})
        client.append(speech_pcm(0, 1.0))
        client.commit()
        client.rest()
    languages = [event["languages"] for event in client.events if event["type"].endswith(".completed")]
    assert languages == [[{"code": "de"}], [{"code": "fr"}]]


def test_logprobs_where_they_are_included(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.send(
            "session.update",
            session={
                "type": "transcription",
                "include": ["item.input_audio_transcription.logprobs"],
                "audio": {"input": {"turn_detection": None}},
            },
        )
        client.append(speech_pcm(0, 1.0))
        client.commit()
        completed = client.until(".completed")
    assert completed["logprobs"] == []  # the scripted model has none


def test_bounds_are_checked() -> None:
    with pytest.raises(InvalidOption, match="silence_duration_ms"):
        session({"turn_detection": {"silence_duration_ms": -1}})


BETA = {
    "input_audio_format": "g711_ulaw",
    "input_audio_transcription": {"model": "whisper-1", "language": "en"},
    "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
}


def test_the_beta_is_spoken_to_those_who_begin_with_it(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.send("transcription_session.update", session=BETA)
        shown = client.until("transcription_session.updated")["session"]
        client.send("transcription_session.update", session={"turn_detection": None})
        client.until("transcription_session.updated")
        client.append(b"\xff\x7f" * 8_000)
        client.commit()
        client.until(".completed")
    assert shown["input_audio_format"] == "g711_ulaw"
    assert shown["turn_detection"]["silence_duration_ms"] == 300
    assert "conversation.item.created" in client.types
    assert not {"conversation.item.added", "conversation.item.done", "session.updated"} & set(client.types)


def test_the_beta_header_decides_from_the_first_event_on(open_stream: OpenStream) -> None:
    with open_stream(additional_headers={"OpenAI-Beta": "realtime=v1"}) as client:
        client.send("session.update", session={**BETA, "modalities": ["text"]})
        client.until("session.updated")
    assert client.types == ["transcription_session.created", "session.updated"]
    assert client.events[0]["session"]["input_audio_format"] == "pcm16"


def test_who_begins_with_the_current_shape_stays_with_it(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        client.send("transcription_session.update", session=BETA)
        assert client.until("updated")["type"] == "session.updated"
