"""The bar of a download."""

from __future__ import annotations

import io

from model_sources.progress import ProgressBar


def test_the_bar_ends_its_line_and_a_log_gets_few_lines() -> None:
    stream = io.StringIO()
    bar = ProgressBar("tiny", stream)
    for done in range(1001):
        bar(done * 1000, 1_000_000)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert "100 %" in lines[-1]
