"""Deltas of a stream: together the text of the plain answer, and no character cut in two."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from asr.render import formats
from asr.render.events import EventStream, TextStream
from asr.request.options import RequestOptions
from asr.schema import DecodeStats, Segment, Transcript
from tests.asr.asked import asked

HINDI = (Path(__file__).resolve().parents[3] / "samples" / "hindi.txt").read_text(encoding="utf-8")
LETTERS = " \n\tabé\u0301\u0915\u093c\u0928\u093e\u094d\u200d\u2028\x00\r\ufffd.\u1100\u1161\u11a8🇮🇳👩"


def told(text: str) -> Segment:
    """A segment of one token for each of the text's characters."""
    raw = tuple(char.encode("utf-8", "replace") for char in text)
    tokens = tuple(range(len(raw)))
    return Segment(0, 1, text, tokens, 0, 0.0, -0.1, 1.0, 0.0, (), tuple(-0.01 * i for i in tokens), raw)


class Segments:
    """A session that has finished these texts, two at a time."""

    error = None

    def __init__(self, texts: list[str]) -> None:
        self.whole = "".join(texts)
        self.texts = self.all = texts

    @property
    def done(self) -> bool:
        return not self.texts

    def take_segments(self) -> tuple[Segment, ...]:
        taken, self.texts = self.texts[:2], self.texts[2:]
        return tuple(told(text) for text in taken)

    def transcript(self) -> Transcript:
        segments = tuple(map(told, self.all))
        return Transcript(self.whole, segments, "hi", "transcribe", 16_000, DecodeStats())


def events_of(texts: list[str], options: RequestOptions | None = None) -> list[dict[str, Any]]:
    sent: list[bytes] = []
    stream = EventStream(options or RequestOptions(), sent.append)
    session = Segments(texts)
    stream.advance(session)
    while not session.done:
        stream.advance(session)
    stream.advance(session)
    return [json.loads(line[5:]) for line in b"".join(sent).decode().split("\n\n") if line]


def deltas_of(texts: list[str]) -> list[str]:
    return [event["delta"] for event in events_of(texts) if event["type"].endswith("delta")]


def cut(text: str, borders: list[int]) -> list[str]:
    places = [0, *sorted(place % (len(text) + 1) for place in borders), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def assert_whole_clusters(deltas: list[str]) -> None:
    """Each delta is a run of the whole text's clusters."""
    whole = "".join(deltas)
    borders = {0, *(match.end() for match in regex.finditer(r"\X", whole))}
    position = 0
    for delta in deltas:
        position += len(delta)
        assert position in borders, deltas


@given(st.lists(st.text(alphabet=LETTERS, max_size=6), max_size=8))
def test_deltas_add_up_to_the_rendered_text(texts: list[str]) -> None:
    deltas = deltas_of(texts)
    assert "".join(deltas) == formats.clean("".join(texts)).strip()
    assert_whole_clusters(deltas)


@given(st.lists(st.integers(0, 10_000), max_size=40), st.sampled_from(["NFC", "NFD"]))
def test_hindi_cut_anywhere_arrives_whole(borders: list[int], form: Any) -> None:
    texts = cut(unicodedata.normalize(form, HINDI), borders)
    deltas = deltas_of(texts)
    assert "".join(deltas) == formats.clean(HINDI).strip()
    assert_whole_clusters(deltas)


@pytest.mark.parametrize(
    ("texts", "deltas"),
    [
        ([" Cafe", "\u0301 au", " lait. "], ["Caf", "\u00e9 a", "u lait."]),
        ([" \u0928", "\u093c\u093e", " है"], ["\u0929\u093e", " है"]),  # letter, then dot below and vowel
        (["👩", "\u200d", "🚀!"], ["👩\u200d🚀", "!"]),
        ([" ", "\n", ""], []),
        ([" one ", " two "], ["one", "  two"]),
    ],
)
def test_what_could_combine_waits(texts: list[str], deltas: list[str]) -> None:
    stream = TextStream()
    told = [*(stream.take(text) for text in texts), stream.rest()]
    assert [text for text in told if text] == deltas


def test_the_done_event_has_the_whole_text_and_comes_once() -> None:
    events = events_of([" नमस्ते", " दुनिया"])
    assert [event["type"].rpartition(".")[2] for event in events] == [
        "delta", "segment", "delta", "segment", "delta", "done",
    ]  # fmt: skip
    assert events[-1]["text"] == "नमस्ते दुनिया"
    assert events[-1]["usage"]["seconds"] == 1


def test_the_tokens_of_a_segment_go_with_its_first_delta() -> None:
    events = events_of([" Cafe", "\u0301", " au lait."], asked(token_logprobs=True))
    told = [event["logprobs"] for event in events if event["type"].endswith("delta")]
    assert ["".join(entry["token"] for entry in logprobs) for logprobs in told] == [
        " Cafe", "\u0301 au lait.", "",
    ]  # fmt: skip
    assert [entry for logprobs in told for entry in logprobs] == events[-1]["logprobs"]
    assert not any("logprobs" in event for event in events_of([" a", " b"]))
