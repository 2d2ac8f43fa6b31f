"""The worker's log: JSON lines that tell enough and give nothing away."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from adapter.json_log import configure_logging
from tests.adapter.test_handler import NO_VAD, PLAIN, good, window_row
from tests.adapter.worker import RAISES, Row, Worker, wav

FORGED = "\n[METRICS]forged.count:1|#Level:Host|#hostname:evil,1"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Every line of standard output, which must be JSON."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_request_is_one_line(
    start_worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start_worker()
    capsys.readouterr()
    row = good(response_format="verbose_json", long_form="sequential")
    row.headers["X-Request-Start"] = "t=1.0"
    worker.ask(row)
    (line,) = lines(capsys)
    expected = {
        "event": "request", "request_id": "request-0", "kind": "file", "status": 200, "container": "wav",
        "codec": "pcm_s16le", "sample_rate": 16_000, "channels": 1, "audio_s": 1.0, "language": "de",
        "task": "transcribe", "response_format": "verbose_json", "stream": False,
        "long_form": "sequential", "windows": 1, "fallbacks": {}, "upload_bytes": 32_044,
    }  # fmt: skip
    assert expected.items() <= line.items()
    assert {"media", "vad", "encode", "decode", "render"} <= set(line["stage_seconds"])
    assert line["wall_s"] > 0 and line["rtf"] > 0 and line["host_memory_bytes"] > 0
    assert "queue_s" not in line  # the header's time is absurd
    assert "text" not in line


def test_queue_time_is_taken_from_the_header(
    start_worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start_worker()
    import time

    capsys.readouterr()
    row = good()
    row.headers["X-Request-Start"] = str(time.time() - 5)
    worker.ask(row)
    assert 5 <= lines(capsys)[0]["queue_s"] < 60


@pytest.mark.parametrize("start", ["", "nan", "-inf", "t=", "1e400", "نمستے", FORGED])
def test_a_bad_queue_header_is_no_error(worker: Worker, start: str) -> None:
    row = good()
    row.headers["X-Request-Start"] = start
    assert worker.ask(row)[0].status == 200


def test_transcripts_and_prompts_stay_out(
    start_worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start_worker()
    answer = worker.ask(good(prompt="Geheimnis"))[0]
    out = capsys.readouterr().out
    assert "Ton" in answer.json()["text"]
    assert "Ton" not in out and "Geheimnis" not in out


def test_log_text_puts_the_transcript_in(
    start_worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start_worker(log_text=True)
    capsys.readouterr()
    answer = worker.ask(good())[0]
    assert lines(capsys)[0]["text"].strip() == answer.json()["text"]


def test_every_kind_and_every_refusal_is_logged(
    start_worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start_worker()
    capsys.readouterr()
    worker.ask(Row.raw(b"", path="model"), window_row(), good(language="xx"), Row.raw(b""))
    logged = lines(capsys)
    assert [line["kind"] for line in logged] == ["model", "windows", "file", "unread"]
    assert [line["status"] for line in logged] == [200, 200, 400, 400]
    assert logged[2]["error_code"] == "invalid_value" and logged[2]["error_param"] == "language"
    assert logged[1]["windows"] == 1 and logged[1]["audio_s"] == 1.0


def test_a_canary_that_passed_has_no_line(
    start_worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]
) -> None:
    """They come every five seconds, by day and night."""
    worker = start_worker()
    capsys.readouterr()
    answers = worker.ask(Row.raw(b"", path="healthz"), window_row())
    assert [answer.status for answer in answers] == [200, 200]
    assert [line["kind"] for line in lines(capsys)] == ["windows"]


def test_nothing_a_caller_sends_can_forge_a_line(
    start_worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start_worker(log_text=True)
    worker.ask(
        good(**{FORGED: "x"}),
        good(language=FORGED),
        good(prompt=FORGED),
        good(response_format=FORGED),
        Row.form(FORGED.encode(), part_type="text/plain"),
        Row.raw(wav(), **{**NO_VAD, FORGED: 1}),
        Row.raw(wav(), path=FORGED),
        Row.raw(FORGED.encode(), "application/json"),
    )
    worker.ask(Row.form(wav(peak=RAISES), **PLAIN))  # an exception that quotes the forged line
    out = capsys.readouterr().out
    assert "forged" in out
    assert not [line for line in out.splitlines() if not line.startswith("{")]
    assert all(json.loads(line) for line in out.splitlines())


def test_the_start_is_logged(start_worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]) -> None:
    start_worker()
    starting, ready = lines(capsys)
    assert starting["event"] == "starting" and starting["versions"]["torch"] and starting["worker_pid"]
    assert ready["event"] == "ready" and ready["name"] == "echo"
    assert len(ready["sha256"]) == 12 and ready["load_s"] >= 0


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"modle": 1}, "handler.modle is unknown: known are engine, limits, log_text"),
        (
            {"limits": {"max_audio_second": 5}},
            "handler.limits.max_audio_second is unknown: did you mean max_audio_seconds?",
        ),
        (
            {"limits": {"media_threads": "two"}},
            "handler.limits.media_threads is 'two', must be a valid integer",
        ),
        ({"log_text": "yes"}, "handler.log_text is 'yes', must be a valid boolean"),
    ],
)
def test_a_bad_configuration_stops_the_worker_and_says_why(
    start_worker: Callable[..., Worker],
    capsys: pytest.CaptureFixture[str],
    section: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(ValueError, match="handler"):
        start_worker(**section)
    last = lines(capsys)[-1]
    assert last["event"] == "not_started" and says in last["why"]


def test_other_loggers_of_ours_write_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    try:
        raise ValueError(FORGED)
    except ValueError:
        logging.getLogger("asr.sessions.driver").exception("broke %s", FORGED)
    (line,) = lines(capsys)
    assert line["logger"] == "asr.sessions.driver" and "forged" in line["traceback"]


def test_torchserves_own_loggers_are_left_alone() -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    configure_logging()
    assert root.handlers == before
