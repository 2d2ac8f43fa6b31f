"""Server-sent events, whatever way the bytes are cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_client.events import read_events


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (b"data: x\n\n", [("message", "x")]),
        (b"data:x\n\n", [("message", "x")]),
        (b"event: ping\ndata: x\n\n", [("ping", "x")]),
        (b"data: a\ndata: b\n\n", [("message", "a\nb")]),
        (b": comment\n\ndata: x\n\n", [("message", "x")]),
        (b"event: lonely\n\ndata: x\n\n", [("message", "x")]),  # an event without data is none
        (b"data: x\n", []),  # unfinished
        (b"data: x\r\n\r\ndata: y\r\n\r\n", [("message", "x"), ("message", "y")]),
        (b"data: x\r\rdata: y\r\r", [("message", "x"), ("message", "y")]),
        (b"\xef\xbb\xbfdata: x\n\n", [("message", "x")]),
        (b"id: 7\nretry: 10\ndata: x\n\n", [("message", "x")]),
        (b"data\n\n", [("message", "")]),
        (b'data: {"type": "t", "n": 1}\n\n', [("t", '{"type": "t", "n": 1}')]),
        (b"event: e\ndata: [1]\n\n", [("e", "[1]")]),
        (b"data: \xff\n\n", [("message", "\ufffd")]),
    ],
)
def test_the_standard_by_table(stream: bytes, expected: list[tuple[str, str]]) -> None:
    assert [(event.type, event.text) for event in read_events([stream])] == expected


def test_a_line_end_cut_in_two_is_one() -> None:
    (event,) = read_events([b"data: a\r", b"\ndata: b\r", b"\n\r\n"])
    assert event.text == "a\nb"


def test_an_event_is_there_before_the_next_chunk_is_asked_for() -> None:
    asked = []

    def chunks():  # type: ignore[no-untyped-def]
        for number in range(3):
            asked.append(number)
            yield f"data: {number}\n\n".encode()

    stream = read_events(chunks())
    assert next(stream).text == "0"
    assert asked == [0]


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    places=st.lists(st.integers(0, 10_000), max_size=20),
)
def test_cuts_do_not_matter(texts: list[str], newline: str, places: list[int]) -> None:
    documents = [{"type": "t", "text": text} for text in texts]
    stream = "".join(
        f"data: {json.dumps(item, ensure_ascii=False)}{newline * 2}" for item in documents
    ).encode()
    assert [event.data for event in read_events(cut(stream, places))] == documents
