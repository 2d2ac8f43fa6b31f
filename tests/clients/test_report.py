"""Figures by table, by property and against numpy; schedules by property. No clock anywhere."""

from __future__ import annotations

import json
import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_kit.load import Clip, Job, LoadRun, LoadRunner, Outcome
from load_kit.load_command import exit_code
from load_kit.load_report import (
    latency_figures,
    level_document,
    make_report,
    percentile,
    report_text,
)
from load_kit.models_report import models_text
from load_kit.schedule import at_random, in_turn, poisson_arrivals
from whisper_client.client import Reply
from whisper_client.errors import BadArgument

SECONDS = st.floats(0, 1e4, allow_nan=False)


def outcome(
    latency_s: float = 1.0, audio_s: float | None = 10.0, failure: str | None = None, **other: object
) -> Outcome:
    values = {"path": "a.wav", "due_s": 0.0, "sent_s": 0.0, "status": 200} | other
    return Outcome(**values, done_s=latency_s, audio_s=audio_s, failure=failure)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "percent", "rank"),
    [(1, 50, 1), (1, 99, 1), (2, 50, 1), (3, 50, 2), (10, 90, 9), (100, 99, 99), (100, 95, 95),
     (1000, 99.9, 999), (1001, 99.9, 1000), (20, 95, 19), (21, 95, 20), (5, 100, 5), (3, 1e-12, 1)],
)  # fmt: skip
def test_percentiles_are_nearest_ranks(count: int, percent: float, rank: int) -> None:
    assert percentile(list(range(1, count + 1)), percent) == rank


@given(st.lists(SECONDS, min_size=1), st.integers(1, 100))
def test_a_percentile_is_measured_and_covers_its_share(values: list[float], percent: int) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


@given(st.lists(SECONDS, min_size=1, max_size=300))
def test_percentiles_equal_numpys_inverted_cdf(values: list[float]) -> None:
    figures = latency_figures(values)
    assert figures is not None
    shares = [50, 90, 95, 99, 99.9]
    expected = np.percentile(values, shares, method="inverted_cdf")
    assert list(figures.percentiles.values()) == expected.tolist()
    assert figures.mean == pytest.approx(np.mean(values))
    assert (figures.min, figures.max, figures.count) == (min(values), max(values), len(values))


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_a_percentile_outside_the_range_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile([1.0], percent)
    with pytest.raises(ValueError, match="percentile"):
        percentile([], 50)


def test_a_run_is_counted() -> None:
    run = LoadRun(
        (
            outcome(1.0, 10.0),
            outcome(3.0, 20.0, causes=("http 503", "connection")),
            outcome(0.1, 5.0, "http 400", status=400),
            outcome(9.0, 5.0, "timeout", status=None, causes=("timeout",)),
        ),
        wall_s=10.0,
    )
    report = make_report(run)
    assert (report.requests, report.succeeded, report.retried_requests) == (4, 2, 2)
    assert report.failures == {"http 400": 1, "timeout": 1}
    assert report.retries == {"connection": 1, "http 503": 1, "timeout": 1}
    assert report.audio_s == 30.0  # failed ones transcribed nothing
    assert report.rtfx == 3.0
    assert report.requests_per_s == 0.2
    assert report.latency is not None and report.latency.max == 3.0
    assert report.latency_all is not None and report.latency_all.max == 9.0
    assert exit_code(report) == 1
    text = report_text(report)
    assert "4 in 10.00 s, 2 succeeded" in text and "1 http 400, 1 timeout" in text and "RTFx 3.00" in text


def test_an_unknown_length_makes_no_rtfx() -> None:
    report = make_report(LoadRun((outcome(), outcome(audio_s=None)), 2.0))
    assert (report.audio_s, report.rtfx, report.unknown_lengths) == (None, None, 1)
    assert "not known for 1 requests" in report_text(report)
    assert exit_code(report) == 0


def test_latency_counts_from_the_due_time() -> None:
    late = outcome(5.0, due_s=1.0, sent_s=4.0)
    report = make_report(LoadRun((late,), 5.0))
    assert report.latency is not None and report.latency.max == 4.0
    assert report.send_delay is not None and report.send_delay.max == 3.0
    assert report.late_requests == 1
    assert "held up" in report_text(report)


def test_a_run_of_nothing_is_no_success() -> None:
    report = make_report(LoadRun((), 0.0))
    assert report.latency is None and exit_code(report) == 1
    assert "none measured" in report_text(report)


def test_ctrl_c_shows_in_report_and_exit_code() -> None:
    report = make_report(LoadRun((outcome(),), 1.0, interrupted=True))
    assert exit_code(report) == 130
    assert "Ctrl-C" in report_text(report)


@given(
    st.lists(
        st.builds(
            outcome,
            SECONDS,
            st.none() | SECONDS,
            st.none() | st.sampled_from(["http 400", "timeout"]),
            causes=st.lists(st.sampled_from(["http 503", "connection"]), max_size=3).map(tuple),
        ),
        max_size=20,
    ),
    st.just(0.0) | st.floats(0.001, 1e4),
)
def test_the_document_is_json_and_adds_up(outcomes: list[Outcome], wall_s: float) -> None:
    report = make_report(LoadRun(tuple(outcomes), wall_s))
    document = json.loads(json.dumps(level_document(4, report, outcomes), allow_nan=False))
    assert document["level"] == 4
    figures = document["figures"]
    assert figures["succeeded"] + sum(figures["failures"].values()) == figures["requests"] == len(outcomes)
    assert sum(figures["retries"].values()) == sum(len(item["causes"]) for item in document["outcomes"])
    assert (figures["latency_s"] is None) == (figures["succeeded"] == 0)
    if figures["latency_s"]:
        assert {"p50", "p90", "p95", "p99", "p99.9", "mean", "min", "max", "count"} == set(
            figures["latency_s"]
        )


@given(st.floats(0.01, 50), st.floats(0.1, 50), st.integers(0, 2**32))
def test_arrivals_ascend_within_the_duration_and_repeat(rate: float, duration_s: float, seed: int) -> None:
    arrivals = poisson_arrivals(rate, duration_s, seed)
    assert list(arrivals) == sorted(arrivals)
    assert all(0 < moment < duration_s for moment in arrivals)
    assert arrivals == poisson_arrivals(rate, duration_s, seed)


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    short, long = poisson_arrivals(5, 10, 3), poisson_arrivals(5, 20, 3)
    assert long[: len(short)] == short and len(long) > len(short)


def test_arrivals_are_poisson() -> None:
    """Counts per second: mean and variance are the rate; gaps: the share above t is exp(-rate t)."""
    rate, duration_s = 4.0, 20_000
    arrivals = poisson_arrivals(rate, duration_s, seed=1)
    counts = np.bincount(np.asarray(arrivals).astype(int), minlength=duration_s)
    # five standard errors: sqrt(4 / 20 000) for the mean, about 4 sqrt(2 / 20 000) for the variance
    assert counts.mean() == pytest.approx(rate, abs=5 * math.sqrt(rate / duration_s))
    assert counts.var() == pytest.approx(rate, abs=5 * rate * math.sqrt(2.3 / duration_s))
    gaps = np.diff(arrivals)
    for t in (0.1, 0.25, 0.5, 1.0):
        assert np.mean(gaps > t) == pytest.approx(math.exp(-rate * t), abs=0.01)


def test_other_seeds_give_other_arrivals() -> None:
    assert poisson_arrivals(5, 10, 0) != poisson_arrivals(5, 10, 1)


def test_a_plan_that_fills_the_memory_is_refused() -> None:
    with pytest.raises(BadArgument, match="take less"):
        poisson_arrivals(1e6, 1e6, 0)


@given(st.lists(st.integers(), min_size=1, max_size=7, unique=True), st.integers(0, 50), st.integers(0, 99))
def test_clips_are_spread(clips: list[int], count: int, seed: int) -> None:
    turns = list(islice(in_turn(clips), count))
    assert len(turns) == count
    tally = [turns.count(clip) for clip in clips]
    assert max(tally) - min(tally) <= 1
    drawn = list(islice(at_random(clips, seed), count))
    assert len(drawn) == count and set(drawn) <= set(clips)
    assert drawn == list(islice(at_random(clips, seed), count))


def test_each_model_is_reported_with_its_files() -> None:
    ends = [("hindi.opus", "hi", 1.0), ("marathi.opus", "hi", 3.0), ("jfk.flac", "whisper", 2.0)]
    outcomes = tuple(outcome(seconds, path=f"clips/{path}", model=model) for path, model, seconds in ends)
    report = make_report(LoadRun(outcomes, 3.0))
    assert {model: figures.count for model, figures in report.latency_by_model.items()} == {
        "hi": 2,
        "whisper": 1,
    }
    document = level_document(1, report, outcomes)
    assert document["figures"]["latency_by_model_s"]["hi"]["p50"] == 1.0
    assert [row["model"] for row in document["outcomes"]] == ["hi", "hi", "whisper"]
    first, files, *_ = models_text(outcomes).splitlines()
    assert first.split()[:5] == ["answered", "by", "hi:", "2", "requests,"]
    assert files.split() == ["hindi.opus,", "marathi.opus"]


def test_nothing_is_said_of_models_where_one_answered_all() -> None:
    assert models_text([outcome(model="whisper"), outcome(model="whisper"), outcome()]) == ""


def test_the_model_is_the_one_that_the_server_names() -> None:
    answer = Reply(200, b"{}", 1.0, 1, "application/json", model="hi")
    run = LoadRunner(lambda _: answer, 1, judge=lambda *_: (None, "")).run([Job(Clip(Path("a.wav"), 1.0))])
    assert [one.model for one in run.outcomes] == ["hi"]
