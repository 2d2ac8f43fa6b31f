"""Log lines: one JSON object each, whatever a client sends."""

from __future__ import annotations

import json
import logging

import pytest

from gateway.observe.logs import JsonFormatter, log_request
from gateway.observe.record import RequestRecord, recorded


def formatted(message: str, **fields: object) -> str:
    record = logging.LogRecord("gateway.test", logging.INFO, __file__, 1, message, (), None)
    record.fields = fields
    return JsonFormatter().format(record)


def test_a_line_cannot_be_broken_or_forged() -> None:
    hostile = 'a\n{"level": "error"}\r\x1b[2J\u2028‮é'
    line = formatted(hostile, note=hostile)
    assert line.isascii() and line.isprintable()
    assert json.loads(line)["event"] == hostile


def test_every_line_of_a_request_has_its_id() -> None:
    with recorded(RequestRecord(id="r-1")):
        assert json.loads(formatted("inside"))["request_id"] == "r-1"
    assert "request_id" not in json.loads(formatted("outside"))


@pytest.mark.parametrize(("log_text", "expected"), [(False, None), (True, "private words")])
def test_text_only_where_the_settings_say_so(
    log_text: bool, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    record = RequestRecord(
        id="r", route="/v1/audio/transcriptions", status=200, text="private words", language="en", windows=3
    )
    with record.stage("prepare"), record.stage("decode"):
        pass
    with caplog.at_level(logging.INFO):
        log_request(record, log_text)
    line = json.loads(JsonFormatter().format(caplog.records[0]))
    assert line.get("text") == expected
    assert (line["language"], line["windows"], set(line["stages"])) == ("en", 3, {"prepare", "decode"})


def test_health_checks_are_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_request(RequestRecord(route="/health/ready"), False)
        log_request(RequestRecord(route="/metrics"), False)
    assert caplog.records == []
