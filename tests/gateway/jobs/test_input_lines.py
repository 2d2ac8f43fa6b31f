"""The rules for the lines of a batch, alone: any bytes, in the memory of one line."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.jobs.batches.input_lines import MAX_ID_CHARS, InputLine, LineError, checked_lines

pytestmark = pytest.mark.usefixtures("alone")

ENDPOINT = "/v1/audio/transcriptions"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
custom_ids = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)


def checked(
    content: bytes, max_lines: int = 1_000, knows: Callable[[Any], bool] = lambda name: True
) -> list[InputLine | LineError]:
    return list(checked_lines(io.BytesIO(content), ENDPOINT, max_lines, knows))


def good(custom_id: str, **body: Any) -> dict[str, Any]:
    body = body or {"file_id": "file-1"}
    return {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}


@given(st.lists(custom_ids, min_size=1, max_size=30, unique=True), st.lists(st.sampled_from(["", " ", "\r"])))
def test_each_good_line_is_found_where_it_stands(ids: list[str], blanks: list[str]) -> None:
    texts = [json.dumps(good(one), ensure_ascii=False) for one in ids]
    content = "".join(f"{text}\n" for text in [*blanks, *texts]).encode()
    lines = checked(content)
    assert [line.custom_id for line in lines if isinstance(line, InputLine)] == ids
    for line, text in zip(lines, texts, strict=True):
        assert isinstance(line, InputLine)
        assert content[line.position :][: line.num_bytes].decode() == text + "\n"
    assert [line.number for line in lines if isinstance(line, InputLine)] == list(
        range(len(blanks) + 1, len(blanks) + len(ids) + 1)
    )


@given(st.binary(max_size=400))
def test_any_bytes_are_lines_or_errors(content: bytes) -> None:
    lines = checked(content)
    assert lines, "an empty file is an error"
    for one in lines:
        assert isinstance(one, LineError) and one.code in ("invalid_json_line", "empty_file")


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    json_values,
    json_values,
    json_values,
    st.dictionaries(st.sampled_from(["file_id", "url", "file_url", "model"]), json_values) | json_values,
)
def test_any_request_is_a_line_or_an_error_with_a_code(
    custom_id: Any, method: Any, url: Any, body: Any
) -> None:
    request = {"custom_id": custom_id, "method": method, "url": url, "body": body}
    wanted = {**request, "custom_id": "x", "method": "POST", "url": ENDPOINT}
    for one in (request, wanted):
        (line,) = checked(json.dumps(one).encode())
        if isinstance(line, InputLine):
            sources = [name for name in ("file_id", "url", "file_url") if one["body"].get(name)]
            assert len(sources) == 1 and (line.file_id is not None) == (sources == ["file_id"])
        else:
            assert line.code and line.line == 1 and json.dumps(line.shown())


@given(st.text(max_size=MAX_ID_CHARS + 8))
def test_a_custom_id_that_is_taken_can_be_stored(custom_id: str) -> None:
    (line,) = checked(json.dumps(good(custom_id)).encode())
    is_storable = 1 <= len(custom_id) <= MAX_ID_CHARS and "\0" not in custom_id
    assert isinstance(line, InputLine) == (
        is_storable and custom_id == custom_id.encode("utf-8", "replace").decode()
    )


def test_a_line_too_many_ends_the_reading() -> None:
    content = b"\n".join(json.dumps(good(str(n))).encode() for n in range(10))
    *lines, last = checked(content, max_lines=4)
    assert len(lines) == 4 and isinstance(last, LineError)
    assert (last.code, last.line) == ("too_many_requests_in_batch", 5)


def test_numbers_that_are_none_and_deep_nests_are_no_json() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    for text in (b'{"custom_id": NaN}', deep):
        (error,) = checked(text)
        assert isinstance(error, LineError) and error.code == "invalid_json_line"


def test_many_lines_take_a_hundred_bytes_each() -> None:
    num_lines = 10_000
    text = "".join(json.dumps(good(f"request-{n}")) + "\n" for n in range(num_lines)).encode()
    lines = checked_lines(io.BytesIO(text), ENDPOINT, num_lines, lambda name: True)
    tracemalloc.start()
    count = sum(isinstance(one, InputLine) for one in lines)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == num_lines
    assert peak < 150 * num_lines, peak
