"""OpenAI's own client, unmodified: upload, batch, wait, fetch."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.jobs.conftest import WHOLE, line, rows, submit, upload, wait

pytestmark = pytest.mark.slow


def test_each_line_is_answered_as_the_http_call(alice: openai.OpenAI, speech: Path) -> None:
    file_id = upload(alice, speech.read_bytes())
    wanted: dict[str, dict[str, Any]] = {
        "plain": {},
        "verbose": {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]},
        "srt": {"response_format": "srt"},
        "text": {"response_format": "text", "language": "en"},
    }
    batch = submit(alice, [line(name, file_id=file_id, **fields) for name, fields in wanted.items()])
    assert (batch.object, batch.status, batch.usage) == ("batch", "validating", None)
    done = wait(alice, batch.id)
    assert (done.status, done.errors, done.error_file_id, done.model) == ("completed", None, None, "whisper-1")
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (4, 4, 0)
    assert done.in_progress_at <= done.finalizing_at <= done.completed_at <= done.expires_at
    answers = rows(alice, done.output_file_id)
    for name, fields in wanted.items():
        call = alice.audio.transcriptions.with_raw_response.create(file=speech, model="whisper-1", **fields)
        body = answers[name]["response"]["body"]
        assert answers[name]["response"]["status_code"] == 200 and answers[name]["error"] is None
        assert body == (call.text if isinstance(body, str) else json.loads(call.text)), name
