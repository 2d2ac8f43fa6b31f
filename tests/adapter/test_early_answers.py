"""A window's answer leaves when it is decoded, not when its TorchServe batch is."""

from __future__ import annotations

import numpy as np

from asr.schema import DecodingOptions, Window
from asr.wire import messages
from tests.adapter.worker import FAILS, EchoEngine, Row, Worker


def window_row(frames: int, peak: int = 8_000) -> Row:
    window = Window(
        np.full(16_000, peak, np.int16), 100, DecodingOptions(language="de"), encoder_frames=frames
    )
    return Row.raw(messages.encode_window(window), "application/octet-stream", "windows")


def test_answers_come_batch_by_batch_and_those_of_the_last_one_with_the_end(
    worker: Worker, engine: EchoEngine
) -> None:
    engine.max_batch_size = 3
    alone = worker.ask(window_row(1_000))[0]
    *long, clip = worker.ask(*[window_row(1_500) for _ in range(8)], window_row(1_000))
    assert engine.batch_sizes == [1, 1, 3, 3, 2]
    lines = [answer.chunks for answer in (clip, *long) if len(answer.chunks) > 1]
    assert len(lines) == 7 and clip.chunks in lines
    for line, rest in lines:
        assert (line, rest) == (alone.body + b"\n", b"")
    assert {answer.content_type for answer in long[:6]} == {"application/x-ndjson"}
    assert [answer.content_type for answer in long[6:]] == ["application/json"] * 2
    assert [answer.body for answer in long[6:]] == [alone.body] * 2


def test_a_window_that_fails_has_its_own_status(worker: Worker, engine: EchoEngine) -> None:
    engine.max_batch_size = 1
    bad, *others = worker.ask(window_row(1_000, FAILS), window_row(1_500), window_row(1_500))
    assert (bad.status, bad.error["code"], len(bad.chunks)) == (500, "engine_failure", 1)
    assert [answer.status for answer in others] == [200, 200]
