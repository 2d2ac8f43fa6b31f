"""stream=true: events as segments finish, in batches of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis, Window
from tests.adapter.test_handler import PLAIN, good, window_row
from tests.adapter.worker import FAILS, EchoEngine, Row, Worker, wav


def streamed(seconds: float = 1.0, peak: int = 8_000, **fields: str) -> Row:
    return Row.form(wav(seconds, peak), **{**PLAIN, "stream": "true", **fields})


def of_type(events: list[Any], name: str) -> list[Any]:
    return [event for event in events if event["type"] == f"transcript.text.{name}"]


def test_deltas_add_up_to_the_text_of_the_plain_answer(worker: Worker) -> None:
    answer = worker.ask(streamed(70.0))[0]
    plain = worker.ask(Row.form(wav(70.0), **PLAIN))[0].json()["text"]
    events = answer.events()
    assert answer.status == 200
    assert answer.content_type.startswith("text/event-stream")
    assert "".join(event["delta"] for event in of_type(events, "delta")) == plain
    assert of_type(events, "done")[0]["text"] == plain
    assert events[-1]["type"] == "transcript.text.done"
    assert len(of_type(events, "segment")) >= 6


def test_each_delta_comes_before_its_segment(worker: Worker) -> None:
    kinds = [event["type"].rpartition(".")[2] for event in worker.ask(streamed(70.0))[0].events()]
    assert kinds == ["delta", "segment"] * (len(kinds) // 2 - 1) + ["delta", "done"]  # the last letter


def test_segments_arrive_before_the_rest_is_decoded(worker: Worker, engine: EchoEngine) -> None:
    engine.max_batch_size = 1
    assert len(worker.ask(streamed(70.0))[0].chunks) >= 3


def test_mixed_batches_stream_to_those_who_asked(worker: Worker) -> None:
    alone = [worker.ask(good())[0], worker.ask(window_row())[0]]
    plain, window, stream, bad = worker.ask(
        good(), window_row(), streamed(40.0), streamed(language="klingon")
    )
    assert [plain.json(), window.json()] == [each.json() for each in alone]
    assert stream.status == 200 and stream.events()[-1]["type"] == "transcript.text.done"
    assert len(plain.chunks) == len(bad.chunks) == 1
    assert bad.status == 400 and bad.error["param"] == "language"


def test_an_error_before_the_first_segment_has_its_status(worker: Worker) -> None:
    answer = worker.ask(streamed(peak=FAILS))[0]
    assert answer.status == 500
    assert answer.content_type == "application/json"
    assert answer.error["code"] == "engine_failure"


def test_an_error_in_mid_stream_is_an_event(
    worker: Worker, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.max_batch_size = 1
    real, calls = engine._one, []

    def one(window: Window) -> Hypothesis | AsrError:
        calls.append(window)
        return real(window) if len(calls) < 3 else EngineFailure("broke down: नमस्ते")

    monkeypatch.setattr(engine, "_one", one)
    answer = worker.ask(streamed(100.0))[0]
    assert answer.status == 200
    *sent, last = answer.events()
    assert of_type(sent, "delta")
    assert last["error"]["code"] == "engine_failure"
    assert not of_type(sent, "done")


def test_silence_streams_a_done_event_only(worker: Worker) -> None:
    answer = worker.ask(Row.form(wav(peak=0), stream="true", language="de"))[0]
    assert [event["type"] for event in answer.events()] == ["transcript.text.done"]
    assert answer.events()[0]["text"] == ""


def test_a_short_stream_is_done_before_its_long_neighbour(worker: Worker, engine: EchoEngine) -> None:
    engine.max_batch_size = 1
    short, long = worker.ask(streamed(2.0), Row.form(wav(100.0), **PLAIN))
    assert b"transcript.text.done" in b"".join(short.chunks[:-1])
    assert long.status == 200


def test_a_broken_connection_to_the_frontend_costs_only_the_stream(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(context: Any, index: int, event: bytes) -> None:
        raise BrokenPipeError

    alone = worker.ask(good())[0]
    monkeypatch.setattr(worker.context.handler, "_send", broken)
    stream, plain = worker.ask(streamed(), good())
    assert stream.events()[-1]["error"]["code"] == "engine_failure"
    assert plain == alone
