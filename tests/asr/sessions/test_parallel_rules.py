"""What the parallel session does with one window: echoes, rests, doubtful sound, times, words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from asr.audio.stretches import Stretch
from asr.constants import SAMPLE_RATE
from asr.errors import AsrError
from asr.schema import Hypothesis, SpeechSpan, TokenAlignment, Transcript, Window
from asr.sessions.driver import drive
from asr.sessions.echo import is_echo
from asr.sessions.parallel import ParallelSession
from asr.text.slicing import kept_text_tokens
from asr.text.tokenizer import TIMESTAMPS
from tests.asr.asked import asked
from tests.asr.scripted import SPEC, TOKENIZER

BEGIN = TOKENIZER.timestamp_begin
SECOND = SAMPLE_RATE


def written(*parts: float | str) -> tuple[int, ...]:
    """Tokens of a text: seconds become timestamps."""
    tokens: list[int] = []
    for part in parts:
        tokens += TOKENIZER.encode(part) if isinstance(part, str) else [BEGIN + round(part * 50)]
    return tuple(tokens)


@dataclass
class Scribe:
    """Writes one prepared answer for each window."""

    answers: Sequence[tuple[int, ...]] | Callable[[Window], tuple[int, ...]]
    avg_logprob: float = -0.2
    no_speech_prob: float = 0.1
    ticks_per_token: int = 10
    windows: list[Window] = field(default_factory=list)
    spec = SPEC
    max_batch_size = 1

    def most_together(self, frames: int) -> int:
        return self.max_batch_size

    def decode(self, windows: Sequence[Window], on_found: object = None) -> list[Hypothesis | AsrError]:
        return [self._one(window) for window in windows]

    def _one(self, window: Window) -> Hypothesis:
        tokens = self.answers(window) if callable(self.answers) else self.answers[len(self.windows)]
        self.windows.append(window)
        kept = kept_text_tokens(tokens, BEGIN, TOKENIZER.eot)
        starts = tuple(self.ticks_per_token * k for k in range(len(kept) + 1))
        aligned = TokenAlignment(kept, starts, (0.9,) * len(kept)) if window.options.word_timestamps else None
        return Hypothesis(
            tokens,
            self.avg_logprob,
            self.no_speech_prob,
            window.options.temperature,
            "en",
            alignment=aligned,
        )


def spans(*edges: tuple[float, float]) -> list[SpeechSpan]:
    return [SpeechSpan(round(a * SECOND), round(b * SECOND)) for a, b in edges]


def transcribed(
    engine: Scribe, speech: list[SpeechSpan], end_s: float, *, doubtful: bool = False, **options: object
) -> Transcript:
    samples = np.zeros(round(end_s * SECOND), np.int16)
    heard = SpeechSpan(0, len(samples))
    stretch = Stretch(SpeechSpan(speech[0].start, speech[-1].end) if speech else heard, heard, doubtful)
    request = asked(**{"language": "en", **options})
    session = ParallelSession(samples, speech, lambda limit: (stretch,), request, SPEC)
    drive(engine, [session])
    assert session.error is None
    return session.transcript()


def seconds_of(transcript: Transcript) -> list[tuple[float, float]]:
    return [(segment.start / SECOND, segment.end / SECOND) for segment in transcript.segments]


@pytest.mark.parametrize(
    ("text", "prompt", "expected"),
    [
        (" The assistant is called Jarvix.", "The assistant is called Jarvix.", True),
        (" is called JARVIX", "The assistant is called Jarvix.", True),
        (" Jarvix. The assistant", "The assistant is called Jarvix.", True),  # round again
        (" The assistant is named Jarvix.", "The assistant is called Jarvix.", False),
        (" यह किताब", "यह किताब बहुत सुंदर है।", True),
        (" यह कताब", "यह किताब बहुत सुंदर है।", False),  # a vowel sign is a letter of its word
        (" ...", "The assistant.", False),
        (" Yes.", "", False),
    ],
)
def test_a_text_that_repeats_the_prompt_is_an_echo(text: str, prompt: str, expected: bool) -> None:
    assert is_echo(text, prompt) is expected


def test_an_echo_of_the_prompt_is_decoded_again_without_it() -> None:
    engine = Scribe([written(0.0, " Kyoto, Lagos", 2.0), written(0.0, " ha", 1.9)])
    transcript = transcribed(engine, spans((0, 2)), 2, prompt="Names: Kyoto, Lagos.")
    assert transcript.text == " ha"
    assert [bool(window.options.prompt) for window in engine.windows] == [True, False]


def test_who_really_says_the_prompt_is_written_down() -> None:
    engine = Scribe([written(0.0, " Kyoto, Lagos", 2.0)] * 2)
    transcript = transcribed(engine, spans((0, 2)), 2, hotwords=("Kyoto", "Lagos"))
    assert transcript.text == " Kyoto, Lagos"


def test_speech_behind_the_last_timestamp_is_decoded() -> None:
    engine = Scribe([written(0.0, " It's no", 10.06), written(0.0, " Okay, no problem", 4.4)])
    transcript = transcribed(engine, spans((0.1, 10.7), (13.0, 15.1)), 16.7)
    assert transcript.text == " It's no Okay, no problem"
    assert seconds_of(transcript) == [(0.1, 10.06), (13.0, 15.1)]
    rest = engine.windows[1]
    assert rest.num_frames == 600  # from the end of the speech that holds the timestamp


def test_speech_that_was_passed_over_is_looked_at_again_and_stands_in_its_place() -> None:
    answers = [written(0.0, " one", 4.0, 12.0, " three", 15.0, 24.0, " five", 26.0)]
    engine = Scribe([*answers, written(0.0, " two", 6.0), written(0.0, " four", 7.5)])
    transcript = transcribed(engine, spans((0, 4), (5, 11), (12, 15), (16, 23), (24, 26)), 28)
    assert transcript.text == " one two three four five"
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)
    assert [window.num_frames for window in engine.windows] == [2_800, 800, 900]


def test_what_was_passed_over_must_convince() -> None:
    engine = Scribe([written(0.0, " one", 4.0, 12.0, " three", 15.0), written(0.0, " music", 6.0)], -0.9)
    transcript = transcribed(engine, spans((0, 4), (5, 11), (12, 15)), 15)
    assert transcript.text == " one three"


def test_a_little_speech_behind_the_last_timestamp_is_its_own() -> None:
    engine = Scribe([written(0.0, " It's no", 10.06)])
    transcribed(engine, spans((0.1, 11.9)), 16.7)
    assert len(engine.windows) == 1


def test_an_opening_timestamp_is_no_end() -> None:
    engine = Scribe([written(0.4, " twelve seconds of speech")])
    assert seconds_of(transcribed(engine, spans((0.3, 11.9)), 12)) == [(0.4, 11.9)]


def test_pauses_at_the_edges_of_a_segment_are_cut_off() -> None:
    engine = Scribe([written(0.0, " How old is it?", 7.0)])
    assert seconds_of(transcribed(engine, spans((1.9, 4.0)), 5.8)) == [(1.9, 4.0)]


def test_without_timestamps_none_can_be_sampled() -> None:
    engine = Scribe([written(" only text")])
    transcript = transcribed(engine, spans((0, 3)), 3, without_timestamps=True)
    assert TIMESTAMPS in engine.windows[0].options.suppress_tokens
    begin, last = TOKENIZER.timestamp_begin, TOKENIZER.n_vocab - 1
    assert {begin, last} <= set(TOKENIZER.suppressed_tokens(engine.windows[0].options.suppress_tokens))
    assert seconds_of(transcript) == [(0.0, 3.0)]


@pytest.mark.parametrize(
    ("avg_logprob", "no_speech_prob", "text"),
    [(-0.3, 0.1, " rap"), (-0.9, 0.1, ""), (-0.3, 0.55, "")],
)
def test_sound_without_detected_speech_must_convince(
    avg_logprob: float, no_speech_prob: float, text: str
) -> None:
    engine = Scribe([written(0.0, " rap", 9.0)], avg_logprob, no_speech_prob)
    transcript = transcribed(engine, [], 10, doubtful=True)
    assert (transcript.text, len(engine.windows)) == (text, 1)


def test_doubtful_sound_climbs_no_ladder() -> None:
    engine = Scribe([written(0.0, " one two", 9.0)], avg_logprob=-1.5)
    assert transcribed(engine, [], 10, doubtful=True).text == ""
    assert len(engine.windows) == 1


def test_words_end_where_their_speech_ends() -> None:
    """One word in each run of speech; the alignment gives the first one the pause too."""
    engine = Scribe([written(0.0, " one two", 8.0)], ticks_per_token=200)
    speech = spans((0.5, 1.0), (4.2, 7.0))
    transcript = transcribed(engine, speech, 8, granularities=("segment", "word"))
    [first, second] = [word for segment in transcript.segments for word in segment.words]
    assert first.end == SECOND
    assert speech[1].start <= second.start < second.end <= speech[1].end
