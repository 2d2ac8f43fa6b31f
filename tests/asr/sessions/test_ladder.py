"""The ladder: which hypothesis is taken, and when a row in a loop may stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asr.request.options import GuardOptions, RequestOptions
from asr.schema import Hypothesis, Window
from asr.sessions.base import Tally
from asr.sessions.ladder import Climb, Verdict, decoding_options, judge
from tests.asr.scripted import TOKENIZER

LOOP = " Thank you for watching." * 40


def hypothesis(text: str, avg_logprob: float, no_speech_prob: float = 0.1, **more: object) -> Hypothesis:
    tokens = tuple(TOKENIZER.encode(text))
    return Hypothesis(tokens, avg_logprob, no_speech_prob, 0.0, "en", **more)  # type: ignore[arg-type]


def climbed(options: RequestOptions, *outcomes: Hypothesis) -> tuple[Verdict | Climb, list[float]]:
    """What becomes of a window with these hypotheses, one per rung, and the temperatures asked for."""
    first = decoding_options(options, "en", ())
    step: Verdict | Climb = Climb(Window(np.zeros(400, np.int16), 1, first))
    asked = []
    for outcome in outcomes:
        assert isinstance(step, Climb)
        asked.append(step.window.options.temperature)
        step = judge(step, replace(outcome, temperature=asked[-1]), options, TOKENIZER, Tally())
    return step, asked


FAILURES = (
    hypothesis(" one", -1.07),
    hypothesis(" two", -1.9),
    hypothesis(LOOP, -0.1),  # likely, and a repetition
    hypothesis(" three", -2.94),
)


def test_parallel_takes_the_likeliest_that_does_not_repeat_itself() -> None:
    taken, asked = climbed(RequestOptions(temperatures=(0.0, 0.4, 0.8, 1.0)), *FAILURES)
    assert isinstance(taken, Verdict)
    assert (asked, taken.rejected) == ([0.0, 0.4, 0.8, 1.0], True)
    assert TOKENIZER.decode(taken.hypothesis.tokens) == " one"
    assert taken.hypothesis.temperature == 0.0


def test_sequential_takes_the_hottest_as_openai_whisper_does() -> None:
    options = RequestOptions(temperatures=(0.0, 0.4, 0.8, 1.0), long_form="sequential")
    taken, _ = climbed(options, *FAILURES)
    assert isinstance(taken, Verdict)
    assert TOKENIZER.decode(taken.hypothesis.tokens) == " three"


def test_of_nothing_but_repetitions_the_least_is_taken() -> None:
    options = RequestOptions(temperatures=(0.0, 0.4))
    taken, _ = climbed(options, hypothesis(LOOP, -0.1), hypothesis(" ha" * 20, -0.5))
    assert isinstance(taken, Verdict)
    assert TOKENIZER.decode(taken.hypothesis.tokens) == " ha" * 20


@pytest.mark.parametrize(
    ("avg_logprob", "no_speech_prob", "silent"),
    [(-1.4, 0.57, True), (-1.07, 0.57, False), (-1.4, 0.2, False)],
)
def test_what_no_temperature_can_read_and_hardly_is_speech_is_silence(
    avg_logprob: float, no_speech_prob: float, silent: bool
) -> None:
    """The first row is a laugh, read by OpenAI's base."""
    options = RequestOptions(temperatures=(0.0, 0.4))
    taken, _ = climbed(options, *[hypothesis(" So", avg_logprob, no_speech_prob)] * 2)
    assert isinstance(taken, Verdict)
    assert taken.silent is silent


@pytest.mark.parametrize(
    ("temperatures", "threshold", "limits"),
    [
        ((0.0, 0.5, 1.0), 2.4, [2.4, 2.4, None]),  # the last rung's text is the answer
        ((0.0,), 2.4, [None]),
        ((0.0, 1.0), None, [None, None]),
        ((0.0, 1.0), 50.0, [50.0, None]),
    ],
)
def test_a_row_may_stop_only_where_the_request_would_throw_its_text_away(
    temperatures: tuple[float, ...], threshold: float | None, limits: list[float | None]
) -> None:
    options = RequestOptions(
        temperatures=temperatures, guards=GuardOptions(compression_ratio_threshold=threshold)
    )
    step: Verdict | Climb = Climb(Window(np.zeros(400, np.int16), 1, decoding_options(options, "en", ())))
    found = []
    while isinstance(step, Climb):
        found.append(step.window.options.loop_limit)
        step = judge(step, hypothesis(" x", -5.0), options, TOKENIZER, Tally())
    assert found == limits


def test_a_loop_in_what_may_be_silence_is_decoded_to_its_end() -> None:
    """The silence rule needs the probability of the whole text; the guard has cut the text short."""
    options = RequestOptions()
    looped = hypothesis(LOOP, -0.4, no_speech_prob=0.7, looped=True)
    step, asked = climbed(options, looped)
    assert isinstance(step, Climb)
    assert (step.rung, step.window.options.temperature, step.window.options.loop_limit) == (0, 0.0, None)
    assert asked == [0.0]
