"""Answers: OpenAI's shapes, and subtitles that independent parsers read back."""

import dataclasses
import io
import json
import re
import unicodedata
from datetime import timedelta
from typing import Any

import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import TooLarge
from asr.render import formats
from asr.render.subtitles import milliseconds, timestamp
from asr.request.options import RESPONSE_FORMATS, RequestOptions
from asr.schema import DecodeStats, Segment, Transcript, Word
from tests.asr.asked import asked


def segment(start: float, end: float, text: str, **changes: Any) -> Segment:
    made = Segment(
        start=round(start * 16_000),
        end=round(end * 16_000),
        text=text,
        tokens=(50364, 2425, 50414),
        seek=0,
        temperature=0.0,
        avg_logprob=-0.25,
        compression_ratio=1.5,
        no_speech_prob=0.01,
    )
    return dataclasses.replace(made, **changes)


def transcript(*segments: Segment, duration: float = 5.0, **changes: Any) -> Transcript:
    text = "".join(one.text for one in segments)
    made = Transcript(text, segments, "hi", "transcribe", round(duration * 16_000), DecodeStats())
    return dataclasses.replace(made, **changes)


def answer(made: Transcript, **options: Any) -> Any:
    body, content_type = formats.render(made, asked(**options))
    assert content_type == "application/json"
    return json.loads(body)


WORDS = (Word(" Hello", 0, 8_000, 0.9), Word(" world.", 8_000, 16_000, 0.8))
TWO = transcript(segment(0, 1, " Hello world.", words=WORDS), segment(1, 4.5, " Good bye."), duration=4.5001)


def test_json() -> None:
    assert answer(TWO) == {
        "text": "Hello world. Good bye.",
        "languages": [{"code": "hi"}],
        "usage": {"type": "duration", "seconds": 5},
    }


def test_a_transcript_without_speech_has_no_language() -> None:
    silent = transcript(language=None)
    assert answer(silent)["languages"] == []
    assert answer(silent, response_format="verbose_json")["language"] == ""  # OpenAI's type wants a text


def test_the_code_of_a_language_is_isos() -> None:
    assert answer(transcript(language="jw"))["languages"] == [{"code": "jv"}]


@pytest.mark.parametrize(("duration", "seconds"), [(0, 0), (1, 1), (16_000, 1), (16_001, 2)])
def test_usage_is_the_duration_rounded_up(duration: int, seconds: int) -> None:
    usage = answer(transcript(duration=duration / 16_000))["usage"]
    assert usage == {"type": "duration", "seconds": seconds}


def test_verbose_json() -> None:
    body = answer(TWO, response_format="verbose_json")
    assert list(body) == ["task", "language", "duration", "text", "segments", "usage"]
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "hindi", 4.5)
    assert body["segments"][1] == {
        "id": 1,
        "seek": 0,
        "start": 1.0,
        "end": 4.5,
        "text": " Good bye.",
        "tokens": [50364, 2425, 50414],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.5,
        "no_speech_prob": 0.01,
    }


def test_words_alone_leave_the_segments_out() -> None:
    body = answer(TWO, response_format="verbose_json", granularities=("word",))
    assert "segments" not in body
    assert body["words"] == [
        {"word": "Hello", "start": 0.0, "end": 0.5, "probability": 0.9},
        {"word": "world.", "start": 0.5, "end": 1.0, "probability": 0.8},
    ]
    both = answer(TWO, response_format="verbose_json", granularities=("word", "segment"))
    assert len(both["segments"]) == 2
    assert both["words"] == body["words"]


def test_a_translation_is_english() -> None:
    body = answer(dataclasses.replace(TWO, task="translate"), response_format="verbose_json")
    assert (body["task"], body["language"]) == ("translate", "english")


def test_logprobs_show_text_tokens_with_their_bytes() -> None:
    raw = "क".encode()
    one = segment(0, 1, " क", token_logprobs=(-0.1, -0.2, float("-inf")), token_bytes=(b"", raw[:2], raw[2:]))
    body = answer(transcript(one), token_logprobs=True)
    assert body["logprobs"] == [
        {"token": "\\xe0\\xa4", "logprob": -0.2, "bytes": [224, 164]},
        {"token": "\\x95", "logprob": -9999.0, "bytes": [149]},
    ]
    with pytest.raises(ValueError, match="token_bytes"):
        answer(transcript(dataclasses.replace(one, token_bytes=())), token_logprobs=True)


def test_text_is_nfc_and_free_of_replacement_characters() -> None:
    made = transcript(segment(0, 1, " cafe\u0301 \ufffd\x00ok"))
    for name in RESPONSE_FORMATS:
        body = formats.render(made, RequestOptions(response_format=name))[0].decode()
        assert "\ufffd" not in body and "\x00" not in body
        assert "caf\u00e9" in body
        assert body == unicodedata.normalize("NFC", body)


def test_content_types() -> None:
    types = {name: formats.render(TWO, RequestOptions(response_format=name))[1] for name in RESPONSE_FORMATS}
    assert {name: value.split(";")[0] for name, value in types.items()} == {
        "json": "application/json",
        "text": "text/plain",
        "srt": "application/x-subrip",
        "vtt": "text/vtt",
        "tsv": "text/tab-separated-values",
        "verbose_json": "application/json",
    }


def body_of(made: Transcript, name: str, **options: Any) -> str:
    return formats.render(made, asked(response_format=name, **options))[0].decode()


def test_text_srt_vtt_and_tsv() -> None:
    made = transcript(segment(0, 1.001, " A & B <i>"), segment(59.9996, 61, " x --> y\n\nz"), duration=61)
    assert body_of(made, "text") == "A & B <i> x --> y\n\nz\n"
    assert body_of(made, "srt") == (
        "1\n00:00:00,000 --> 00:00:01,001\nA & B <i>\n\n2\n00:01:00,000 --> 00:01:01,000\nx -> y z\n\n"
    )
    assert body_of(made, "vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.001\nA &amp; B &lt;i>\n\n"
        "00:01:00.000 --> 00:01:01.000\nx -> y z\n\n"
    )
    assert body_of(made, "tsv") == "start\tend\ttext\n0\t1001\tA & B <i>\n60000\t61000\tx -> y z\n"


def test_words_become_cues_where_words_were_asked_for() -> None:
    parsed = list(srt.parse(body_of(TWO, "srt", granularities=("word",))))
    assert [(cue.content, cue.start, cue.end) for cue in parsed] == [
        ("Hello", timedelta(0), timedelta(seconds=0.5)),
        ("world.", timedelta(seconds=0.5), timedelta(seconds=1)),
    ]


@settings(deadline=None)
@given(st.integers(0, 400_000_000))
def test_timestamps_are_rounded_once(samples: int) -> None:
    ms = milliseconds(samples)
    assert abs(ms * 16 - samples) <= 8
    hours, minutes, seconds = timestamp(ms, ".").split(":")
    assert len(hours) >= 2 and len(minutes) == 2 and len(seconds) == 6
    assert float(seconds) < 60 and int(minutes) < 60
    assert (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000) == ms


TEXTS = st.text(max_size=20) | st.sampled_from(
    [" a --> b", "-->", "--->", "<v Roger>", "&amp;", "\n\n1\n", "NOTE x"]
)
TIMED = st.lists(st.tuples(st.integers(-100, 90_000), st.integers(-100, 90_000), TEXTS), max_size=8)


@settings(deadline=None)
@given(TIMED, st.integers(0, 80_000))
def test_subtitles_are_read_back_in_order_inside_the_duration(
    timed: list[tuple[int, int, str]], duration: int
) -> None:
    made = transcript(
        *(segment(max(0, start) / 16_000, max(0, end) / 16_000, text) for start, end, text in timed),
        duration=duration / 16_000,
    )
    end_ms = max(1, duration // 16)
    cues = [
        (
            round(cue.start / timedelta(milliseconds=1)),
            round(cue.end / timedelta(milliseconds=1)),
            cue.content,
        )
        for cue in srt.parse(body_of(made, "srt"))
    ]
    captions = webvtt.from_buffer(io.StringIO(body_of(made, "vtt"))).captions
    assert len(captions) == len(cues)
    edges = [edge for start, end, _ in cues for edge in (start, end)]
    assert edges == sorted(edges)
    assert all(start < end for start, end, _ in cues)
    assert not edges or edges[-1] <= end_ms
    expected = [re.sub("-{2,}>", "->", " ".join(formats.clean(text).split())) for _, _, text in timed]
    assert "".join("".join(text for _, _, text in cues).split()) == "".join("".join(expected).split())
    for line in body_of(made, "vtt").splitlines()[2:]:
        assert ("-->" in line) == (line[:2].isdigit() and line[13:16] == "-->")


def events(body: bytes) -> dict[str, Any]:
    assert body.startswith(b"data: ") and body.endswith(b"\n\n") and body.count(b"\n") == 2
    parsed = json.loads(body[len(b"data: ") :])
    assert isinstance(parsed, dict)
    return parsed


def test_events() -> None:
    assert events(formats.sse_delta(" नमस्ते\n")) == {"type": "transcript.text.delta", "delta": " नमस्ते\n"}
    assert "नमस्ते".encode() in formats.sse_delta(" नमस्ते")
    told = events(formats.sse_segment(TWO.segments[1], 1, RequestOptions()))
    assert "words" not in told
    assert (told["type"], told["id"], told["text"]) == ("transcript.text.segment", "1", " Good bye.")
    assert events(formats.sse_done(TWO, RequestOptions())) == {
        "type": "transcript.text.done",
        "text": "Hello world. Good bye.",
        "languages": [{"code": "hi"}],
        "usage": {
            "type": "tokens",
            "input_tokens": 226,
            "output_tokens": 6,
            "total_tokens": 232,
            "input_token_details": {"audio_tokens": 226},
            "seconds": 5,
        },
    }
    assert "logprobs" in events(formats.sse_done(transcript(), asked(token_logprobs=True)))
    error = TooLarge("too long", param="file")
    assert events(formats.sse_error(error)) == {"type": "error", **error.body()}


def test_a_segment_event_has_the_words_that_were_asked_for() -> None:
    told = events(formats.sse_segment(TWO.segments[0], 0, RequestOptions(granularities=("word",))))
    assert told["words"] == answer(TWO, response_format="verbose_json", granularities=("word",))["words"]


def test_numbers_that_json_lacks_are_replaced() -> None:
    made = transcript(segment(0, 1, " x", avg_logprob=float("nan"), no_speech_prob=float("nan")))
    told = answer(made, response_format="verbose_json")["segments"][0]
    assert (told["avg_logprob"], told["no_speech_prob"]) == (-9999.0, 0.0)


def test_no_word_begins_before_the_recording() -> None:
    early = Word(" Hello", -320, 0, 0.9)  # -20 ms, as the alignment of a window of one position says
    made = transcript(segment(0, 1, " Hello", words=(early,)))
    (word,) = answer(made, response_format="verbose_json", granularities=("word",))["words"]
    assert (word["start"], word["end"]) == (0.0, 0.0)
