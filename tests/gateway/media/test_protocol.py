"""Answers of a media process that somebody has taken over are refused, not believed."""

from __future__ import annotations

import copy
import json
import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.prepare import PreparedAudio, prepare
from asr.config import Limits
from asr.errors import InvalidOption
from asr.request.options import RequestOptions
from gateway.media.output import StillWritten, new_output, seal
from gateway.media.protocol import Garbled, answer_of, read_answer, write_output
from tests.asr.containers import tone, wav

PREPARED = prepare(wav(tone(2.0)), RequestOptions(), Limits())
HONEST = json.loads(answer_of(PREPARED))


def read(answer: Any, output: Callable[[Any], object] | None = None) -> Any:
    with tempfile.TemporaryFile() as file:
        write_output(PREPARED, file)
        if output is not None:
            output(file)
        return read_answer(answer if isinstance(answer, bytes) else json.dumps(answer).encode(), file)


def test_an_honest_answer_is_read() -> None:
    found, stays = read(HONEST)
    assert isinstance(found, PreparedAudio)
    assert stays
    np.testing.assert_array_equal(found.audio.samples, PREPARED.audio.samples)
    np.testing.assert_array_equal(found.speech_probs, PREPARED.speech_probs)


def test_an_honest_error_is_read() -> None:
    error, stays = read(answer_of(InvalidOption("no", param="file"), stays=False))
    assert isinstance(error, InvalidOption)
    assert (error.message, error.param, stays) == ("no", "file", False)


def changed(**values: Any) -> dict[str, Any]:
    answer = copy.deepcopy(HONEST)
    for path, value in values.items():
        *outer, last = path.split("__")
        target = answer
        for key in outer:
            target = target[key]
        target[last] = value
    return answer


def an_error(**values: Any) -> dict[str, Any]:
    return {"stays": True, "error": {"kind": "TooLarge", "message": "m", "param": None, **values}}


GARBLED = {
    "no JSON": b"\x80\x04cposix\nsystem",
    "nothing": b"{}",
    "no object": [],
    "deep": b"[" * 50_000,
    "stays": changed(stays=1),
    "more samples than stored": changed(num_samples=10**12),
    "fewer samples than stored": changed(num_samples=5),
    "no samples": changed(num_samples=0),
    "negative samples": changed(num_samples=-1),
    "samples of another type": changed(num_samples=32_000.0),
    "probabilities unsaid": changed(has_probs=False),
    "peak is text": changed(log_mel_max="1"),
    "peak is NaN": changed(log_mel_max=float("nan")),
    "peak is huge": changed(log_mel_max=1e9),
    "source is missing": changed(source=None),
    "codec is endless": changed(source__codec="x" * 60_000),
    "rate is text": changed(source__sample_rate="16000"),
    "a class that is no AsrError": an_error(kind="SystemExit"),
    "a class of the gateway": an_error(kind="Unauthorized"),
    "a message that is none": an_error(message={"a": 1}),
    "an endless message": an_error(message="x" * 60_000),
}


@pytest.mark.parametrize("answer", GARBLED.values(), ids=GARBLED)
def test_what_no_honest_process_answers_is_refused(answer: Any) -> None:
    with pytest.raises(Garbled):
        read(answer)


@pytest.mark.parametrize("prob", [float("nan"), float("inf"), -0.1, 1.1])
def test_probabilities_are_probabilities(prob: float) -> None:
    def spoil(file: Any) -> None:
        file.seek(-4, 2)
        file.write(np.float32(prob).tobytes())
        file.flush()

    with pytest.raises(Garbled):
        read(HONEST, spoil)


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_what_was_sealed_can_be_neither_cut_nor_changed() -> None:
    """A process that was taken over cuts the output off after its answer: mapped, that would be SIGBUS."""
    with new_output(None) as output, open(os.dup(output.fileno()), "r+b", buffering=0) as childs:
        write_output(PREPARED, childs)
        seal(output)
        found, _ = read_answer(json.dumps(HONEST).encode(), output)
        for spoil in (lambda: childs.truncate(0), lambda: os.pwrite(childs.fileno(), b"x", 0)):
            with pytest.raises(PermissionError):
                spoil()
    assert isinstance(found, PreparedAudio)
    np.testing.assert_array_equal(found.audio.samples, PREPARED.audio.samples)


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_what_somebody_keeps_mapped_for_writing_is_not_sealed() -> None:
    with new_output(None) as output:
        write_output(PREPARED, output)
        with mmap.mmap(output.fileno(), 0), pytest.raises(StillWritten, match="busy"):
            seal(output)


def test_a_file_that_is_cut_is_refused() -> None:
    with pytest.raises(Garbled):
        read(HONEST, lambda file: file.truncate(100))


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(HONEST)), JSON)
def test_any_other_value_is_refused_or_harmless(key: str, value: Any) -> None:
    answer = {**HONEST, key: value}
    try:
        found, _ = read(answer)
    except Garbled:
        return
    assert isinstance(found, PreparedAudio)
    assert len(found.audio.samples) == HONEST["num_samples"]
