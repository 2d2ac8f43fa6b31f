"""Rows of bulk runs from the real gateway: what it answers becomes a row, its refusals too."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_rows.entries import entry_for
from bulk_rows.gateway_calls import GatewayCalls
from tests.gateway.served import Gateway
from whisper_client import openai_url

pytestmark = pytest.mark.slow


def test_an_answer_and_a_refusal_become_rows(gateway: Gateway, speech: Path, tmp_path: Path) -> None:
    calls = GatewayCalls([openai_url(gateway.url)], retries=0, patience_s=1)
    calls.check()
    row = calls(entry_for(str(speech), {"language": "en"}))
    assert row.ok and row.text and row.attempts == 1 and row.model
    assert row.duration == pytest.approx(16.1, abs=0.1)
    assert [segment["text"] for segment in row.segments] and row.segments[-1]["end"] <= row.duration
    (tmp_path / "text.wav").write_text("no sound")
    refused = calls(entry_for(str(tmp_path / "text.wav"), {}))
    assert (refused.error_code, refused.text) == ("unsupported_media", None)
