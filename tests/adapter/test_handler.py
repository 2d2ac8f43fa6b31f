"""Whole batches through the handler: every row answers for itself, and `handle` never raises."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from adapter import intake
from asr.constants import WINDOW_FRAMES
from asr.engine import OnFound
from asr.errors import AsrError
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.wire import messages
from tests.adapter.worker import FAILS, RAISES, Answer, EchoEngine, Row, Worker, wav

PLAIN = {"vad_filter": "false", "language": "de"}  # tones are no speech
NO_VAD = {"vad_filter": False, "language": "de"}


def good(pitch: float = 220.0, **fields: str) -> Row:
    return Row.form(wav(pitch=pitch), **{**PLAIN, **fields})


def in_json(audio: bytes, **options: Any) -> Row:
    body = json.dumps({"audio": base64.b64encode(audio).decode(), **NO_VAD, **options})
    return Row.raw(body.encode(), "application/json")


def window_row(peak: int = 8_000) -> Row:
    samples = np.full(16_000, peak, np.int16)
    return Row.raw(
        messages.encode_window(Window(samples, 100, DecodingOptions(language="de"))),
        "application/octet-stream",
        "windows",
    )


BAD_ROWS: dict[str, tuple[Row, int, str]] = {
    "empty": (Row.raw(b""), 400, "invalid_audio"),
    "no parts": (Row.form(None), 400, "invalid_audio"),
    "web form": (Row([], {"Content-Type": "application/x-www-form-urlencoded"}), 400, "invalid_audio"),
    "text": (Row.raw("kein Ton, nur Tränen नमस्ते".encode(), "text/plain"), 415, "unsupported_media"),
    "noise": (Row.raw(bytes(range(256)) * 40), 415, "unsupported_media"),
    "a text part": (
        Row.form(b"[METRICS]x.y:1|#a:b", part_type="text/plain", **PLAIN),
        415,
        "unsupported_media",
    ),
    "a JSON part": (Row.form(b'{"a": 1}', part_type="application/json", **PLAIN), 415, "unsupported_media"),
    "bad JSON": (Row.raw(b"{", "application/json"), 400, "invalid_value"),
    "JSON list": (Row.raw(b"[1]", "application/json"), 400, "invalid_value"),
    "bad base64": (Row.raw(b'{"audio": "?"}', "application/json"), 400, "invalid_audio"),
    "unknown option": (good(sprache="de"), 400, "invalid_value"),
    "unknown option, odd name": (good(**{"नमस्ते\r\n[METRICS]": "é"}), 400, "invalid_value"),
    "bad language": (good(language="klingon"), 400, "invalid_value"),
    "bad temperature": (good(temperature="nan"), 400, "invalid_value"),
    "bad format": (good(response_format="Ünformat"), 400, "invalid_value"),
    "lone surrogate": (in_json(wav(), language="\ud800"), 400, "invalid_value"),
    "nowhere": (Row.raw(wav(), path="v1/audio/speech"), 404, "not_found"),
    "odd path": (Row.raw(wav(), path="नमस्ते\r\n[METRICS]"), 404, "not_found"),
    "no window": (Row.raw(b"\x00\xff" * 50, "application/octet-stream", "windows"), 400, "invalid_value"),
    "engine error": (Row.form(wav(peak=FAILS), **PLAIN), 500, "engine_failure"),
}


def test_every_form_of_the_same_audio_gets_the_same_answer(worker: Worker) -> None:
    audio = wav()
    answers = worker.ask(
        Row.raw(audio, **NO_VAD),
        Row.raw(audio, "application/octet-stream", **NO_VAD),
        Row.form(audio, **PLAIN),
        Row.form(audio, path="v1/audio/transcriptions", model="whisper-1", **PLAIN),
        in_json(audio),
    )
    assert [answer.status for answer in answers] == [200] * 5
    assert len({answer.body for answer in answers}) == 1
    assert "Ton" in answers[0].json()["text"]
    assert answers[0].content_type.startswith("application/json")
    assert {answer.phrase for answer in answers} == {"OK"}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_refused_and_changes_no_neighbour(worker: Worker, name: str) -> None:
    row, status, code = BAD_ROWS[name]
    formats = ("json", "srt", "verbose_json")
    neighbours = [good(200.0 + 50 * i, response_format=formats[i]) for i in range(3)]
    alone = [worker.ask(neighbour)[0] for neighbour in neighbours]
    first, refused, *others = worker.ask(neighbours[0], row, *neighbours[1:])
    assert [first, *others] == alone
    assert refused.status == status
    assert refused.content_type == "application/json"
    assert refused.error["code"] == code
    assert set(refused.error) == {"message", "type", "param", "code"}
    assert refused.body.isascii()


def test_all_bad_rows_together_get_their_own_answers(worker: Worker) -> None:
    answers = worker.ask(*[row for row, _, _ in BAD_ROWS.values()])
    assert [answer.status for answer in answers] == [status for _, status, _ in BAD_ROWS.values()]
    assert [answer.error["code"] for answer in answers] == [code for _, _, code in BAD_ROWS.values()]


def test_windows_and_files_share_the_engine(worker: Worker, engine: EchoEngine) -> None:
    answers = worker.ask(window_row(), good(), window_row(5_000), good(330.0))
    assert [answer.status for answer in answers] == [200] * 4
    assert engine.batch_sizes == [4]
    assert answers[0].content_type == "application/json"
    assert messages.decode_hypothesis(answers[0].body).language == "de"
    assert answers[0].body != answers[2].body


def test_a_window_is_answered_when_it_is_done_and_a_file_with_all_it_has(
    worker: Worker, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = engine.decode

    def telling(windows: Sequence[Window], on_found: OnFound) -> list[Hypothesis | AsrError]:
        found = decode(windows)
        for place in (0, 1):
            on_found(place, found[place])  # type: ignore[arg-type]
        return found

    whole = worker.ask(window_row(), good(), window_row(5_000))
    monkeypatch.setattr(engine, "decode", telling)
    answers = worker.ask(window_row(), good(), window_row(5_000))
    assert [answer.status for answer in answers] == [200] * 3
    assert [len(answer.chunks) for answer in answers] == [2, 1, 1]
    assert answers[0].chunks == (whole[0].body + b"\n", b"")
    assert answers[0].content_type == "application/x-ndjson"
    assert answers[1:] == whole[1:]


def test_a_window_the_engine_refuses_is_an_error_body(worker: Worker) -> None:
    answers = worker.ask(window_row(), window_row(FAILS))
    assert [answer.status for answer in answers] == [200, 500]
    assert answers[1].error["code"] == "engine_failure"


def test_a_window_of_the_wrong_length_is_refused(worker: Worker) -> None:
    body = messages.encode_window(Window(np.ones(480_000, np.int16), WINDOW_FRAMES, DecodingOptions()))
    for cut in (1, 7, len(body) - 1):
        answer = worker.ask(Row.raw(body[:cut], "application/octet-stream", "windows"))[0]
        assert answer.status in (400, 413), answer.body


def test_an_engine_that_raises_fails_its_batch_and_not_the_next(worker: Worker) -> None:
    before = worker.ask(good())[0]
    answers = worker.ask(good(), Row.form(wav(peak=RAISES), **PLAIN), window_row())
    assert [answer.status for answer in answers] == [500] * 3
    assert {answer.error["code"] for answer in answers} == {"engine_failure"}
    assert worker.ask(good())[0] == before


@pytest.mark.parametrize("stage", ["preprocess", "inference", "postprocess"])
def test_a_bug_in_a_stage_still_answers_every_row(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    handler = worker.context.handler

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("bug: नमस्ते")

    monkeypatch.setattr(handler, stage, broken)
    answers = worker.ask(good(), Row.raw(b""), Row.raw(b"", path="healthz"))
    assert [answer.status for answer in answers] == [500] * 3
    assert all("bug" not in answer.body.decode() for answer in answers)


def test_a_bug_in_one_renderer_costs_one_row(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    from asr.render import formats

    real = formats.render

    def broken(transcript: Any, options: Any) -> Any:
        if options.response_format == "srt":
            raise KeyError("bug")
        return real(transcript, options)

    monkeypatch.setattr(formats, "render", broken)
    answers = worker.ask(good(), good(response_format="srt"))
    assert [answer.status for answer in answers] == [200, 500]
    assert "request-1" in answers[1].error["message"]


def test_running_out_of_memory_is_overload(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    real = intake.media.decode

    def decode(body: bytes, limits: Any) -> Any:
        if len(body) > 100_000:
            raise MemoryError
        return real(body, limits)

    monkeypatch.setattr(intake.media, "decode", decode)
    answers = worker.ask(good(), Row.form(wav(5.0), **PLAIN))
    assert [answer.status for answer in answers] == [200, 503]
    assert answers[1].error["code"] == "overloaded"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")], ids=repr)
@pytest.mark.parametrize("place", ["whisper_handler.drive", "adapter.intake.Intake.open_jobs"])
def test_running_out_of_memory_over_a_batch_is_overload(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(place, broken)
    answers = worker.ask(good(), window_row())
    assert [answer.status for answer in answers] == [503, 503]
    assert {answer.error["code"] for answer in answers} == {"overloaded"}


def test_a_request_past_its_deadline_is_overload(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(limits={"request_deadline_s": 0.0})
    answers = worker.ask(good(), Row.raw(b"", path="healthz"))
    assert answers[0].status == 503
    assert answers[0].error["code"] == "overloaded"


def test_healthz_and_model_answer_beside_work(worker: Worker) -> None:
    health, model, described, text = worker.ask(
        Row.raw(b"", path="healthz"),
        Row.raw(b"", path="model"),
        Row([], {"describe": "True"}),
        good(),
    )
    assert (health.status, health.json()) == (200, {"status": "ok", "model": "echo"})
    assert model.json() == described.json()
    assert model.json()["n_text_ctx"] == 448
    assert model.json()["sha256"] == hashlib.sha256(b"weights").hexdigest()[:12]
    assert text.status == 200


def test_an_empty_batch_has_an_empty_answer(worker: Worker) -> None:
    assert worker.ask() == []


def test_formats_have_their_content_types(worker: Worker) -> None:
    formats = ("json", "text", "srt", "vtt", "tsv", "verbose_json")
    answers = dict(zip(formats, worker.ask(*[good(response_format=name) for name in formats]), strict=True))
    assert {answer.status for answer in answers.values()} == {200}
    assert answers["text"].content_type.startswith("text/plain")
    assert answers["vtt"].content_type.startswith("text/vtt")
    assert answers["vtt"].body.startswith(b"WEBVTT")
    assert answers["verbose_json"].json()["language"] == "german"
    assert "नमस्ते" in answers["srt"].body.decode()


def test_translations_path_translates(worker: Worker) -> None:
    row = Row.form(wav(), path="v1/audio/translations", response_format="verbose_json", **PLAIN)
    assert worker.ask(row)[0].json()["task"] == "translate"


def texts(answers: list[Answer]) -> list[str]:
    return [answer.json()["text"] for answer in answers]


def test_a_full_batch_keeps_its_order(worker: Worker) -> None:
    rows = [good(100.0 + 10 * i) for i in range(16)]
    together = texts(worker.ask(*rows))
    assert together == [texts(worker.ask(row))[0] for row in rows]
    assert len(set(together)) == 16
