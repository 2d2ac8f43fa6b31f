"""Live text and sound by themselves: turns on a terminal, their subtitles, pace, the tape."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator

import pytest
import srt
import webvtt

from whisper_client import captions
from whisper_client.captions import Captions
from whisper_client.errors import BadArgument
from whisper_client.live_sound import Paced, rechunked
from whisper_client.live_turns import Event, Turn, Turns
from whisper_client.realtime import realtime_url
from whisper_client.tape import BYTES_PER_MS, CHUNK_BYTES, Tape

TEXT = "conversation.item.input_audio_transcription."


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def heard(*events: Event, began_ms: float = 0.0, sent_ms: float = 0.0) -> Turns:
    turns = Turns()
    for event in events:
        turns.take({"item_id": "a", **event}, began_ms, sent_ms)
    return turns


def screen(text: str, columns: int) -> list[str]:
    """The rows of a terminal that has been sent this."""
    rows, row, column = [""], 0, 0
    while text:
        if text.startswith("\x1b[J"):
            rows[row:] = [rows[row][:column]]
            text = text[3:]
        elif text.startswith("\x1b["):
            count, _, text = text[2:].partition("A")
            row -= int(count)
        elif text[0] == "\r":
            column, text = 0, text[1:]
        else:
            if text[0] == "\n" or column == columns:
                rows, row, column = [*rows, ""], row + 1, 0
            if text[0] != "\n":
                rows[row] += text[0]
                column += 1
            text = text[1:]
    return rows


@pytest.mark.parametrize("columns", [10, 80])
def test_a_terminal_shows_what_counts(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """An open turn grows; a final text that differs takes its place, over however many rows."""
    monkeypatch.setattr(
        captions.shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((columns, 20))
    )
    out = Terminal()
    shown = Captions(out)
    first, second = Turn("a", 0), Turn("b", 9)
    for words in ("The stale", "The stale smell of", "The stale smell of old bear"):
        first.settled = words
        shown.show([first])
        assert "".join(screen(out.getvalue(), columns)) == words
    second.settled = "It"
    shown.show([first, second])
    assert "".join(screen(out.getvalue(), columns)) == first.settled, "the first one is still open"
    first.transcript, first.done_at = "The stale smell of old beer", 1.0
    shown.show([first, second])
    assert "".join(screen(out.getvalue(), columns)) == f"{first.transcript}It"
    shown.show([first])  # the connection broke: the open turn comes again
    assert "".join(screen(out.getvalue(), columns)) == first.transcript
    shown.close()


def test_a_pipe_gets_whole_turns_alone() -> None:
    out = io.StringIO()
    shown = Captions(out)
    turn, empty = Turn("a", 0, settled="one"), Turn("b", 0, transcript="", done_at=1.0)
    shown.show([turn])
    assert out.getvalue() == ""
    turn.transcript, turn.done_at = "one two", 1.0
    shown.show([turn, empty])
    assert out.getvalue() == "one two\n"


def test_times_are_those_of_the_sound_not_of_the_connection() -> None:
    turns = heard(
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 200},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900},
        {"type": "input_audio_buffer.committed"},
        {"type": f"{TEXT}completed", "transcript": " one "},
        {"type": "input_audio_buffer.committed", "item_id": "b"},  # by the client
        began_ms=60_000,
        sent_ms=63_000,
    )
    times = [(turn.start_ms, turn.end_ms, turn.text) for turn in turns.all]
    assert times == [(60_200, 60_900, "one"), (60_900, 63_000, "")]
    assert turns.answered_ms == 60_900 and turns.has_unanswered
    turns.drop_unanswered()
    assert [turn.item_id for turn in turns.all] == ["a"]


def test_subtitles_are_in_order_and_parse() -> None:
    texts = ["one & <two>", "", "a --> b", "last"]
    times = [(0, 1_500.4), (1_400, 2_000), (1_450, 3_000), (3_599_999.6, None)]
    turns = [Turn("x", start, end, transcript=text) for (start, end), text in zip(times, texts, strict=True)]
    cues = list(srt.parse(captions.srt(turns)))
    assert [cue.content for cue in cues] == ["one & <two>", "a -> b", "last"]
    assert [cue.start.total_seconds() for cue in cues] == [0, 1.5, 3600]
    assert cues[2].end.total_seconds() == 3600.5
    assert "one &amp; &lt;two>" in captions.vtt(turns)
    assert len(webvtt.from_string(captions.vtt(turns))) == 3


def test_sound_comes_no_earlier_than_it_is_spoken() -> None:
    now = [100.0]

    def stalling() -> Iterator[bytes]:
        for number in range(6):
            now[0] += 0.2 if number == 2 else 0.0
            yield b"x"

    def sleep(seconds: float) -> None:
        now[0] += seconds

    paced = Paced(stalling(), lambda: now[0], sleep)
    given = [round(now[0] - 100.0, 2) for _ in paced]
    assert given == [0.05, 0.1, 0.3, 0.3, 0.3, 0.3], "what stalled catches up"
    assert paced.spoken_at(250) == pytest.approx(100.25)


def test_chunks_have_one_length() -> None:
    chunks = list(rechunked([b"ab" * 1_000, b"", b"cd" * 1_000]))
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, 4_000 - CHUNK_BYTES]


def test_a_tape_is_read_again_from_what_is_not_answered() -> None:
    tape = Tape()
    tape.record([b"ab", b"cd", b"ef"])
    assert tape.after(0, lambda: True) == b"abcdef"
    tape.forget_before(3)  # whole samples alone
    assert (tape.start, tape.after(tape.start, lambda: True)) == (2, b"cdef")
    assert tape.after(6, lambda: True) == b""
    assert tape.after(2, lambda: False) == b""


def test_a_tape_is_waited_for_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_client.tape.MAX_MS", 1)
    tape = Tape()

    def slow() -> Iterator[bytes]:
        for _ in range(3):
            time.sleep(0.02)
            yield b"12" * BYTES_PER_MS

    threading.Thread(target=tape.record, args=(slow(),)).start()
    position = 0
    while chunk := tape.after(max(position, tape.start), lambda: True):
        position = max(position, tape.start) + len(chunk)
    assert position == 6 * BYTES_PER_MS
    assert len(tape.after(tape.start, lambda: True)) == BYTES_PER_MS


def test_a_sources_failure_is_kept() -> None:
    def broken() -> Iterator[bytes]:
        yield b"ab"
        raise BadArgument("no more")

    tape = Tape()
    tape.record(broken())
    assert tape.after(0, lambda: True) == b"ab" and isinstance(tape.failure, BadArgument)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://h:8000", "ws://h:8000/v1/realtime"),
        ("http://h:8000/v1/", "ws://h:8000/v1/realtime"),
        ("https://h/prefix/v1/audio/transcriptions", "wss://h/prefix/v1/realtime"),
        ("wss://h/v1/realtime", "wss://h/v1/realtime"),
    ],
)
def test_the_address_of_streams(given: str, address: str) -> None:
    assert realtime_url(given) == f"{address}?intent=transcription"
