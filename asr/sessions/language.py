"""The language of a file, decided by all of its first windows together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asr.audio.stretches import Stretch, speech_in
from asr.constants import SAMPLE_RATE, WINDOW_SAMPLES
from asr.request.options import RequestOptions
from asr.schema import DecodingOptions, Hypothesis, SpeechSpan, Window
from asr.sessions.ladder import Climb, is_believed, verdict_on
from asr.sessions.work import Work
from asr.text.tokenizer import Tokenizer

# of speech, heard before the language is decided: about four windows, which fill a batch on a CPU
EVIDENCE_SAMPLES = 90 * SAMPLE_RATE
SURE = 0.6  # at this probability no run of speech is heard alone
MAX_ALONE = 3  # runs of speech that are heard alone
MIN_ALONE_SAMPLES = SAMPLE_RATE  # a shorter run of speech (a laugh, a cough) has no language
RUN_GAP_SAMPLES = SAMPLE_RATE  # a longer pause ends a run


@dataclass(frozen=True, slots=True)
class Vote:
    """What one window says of the language."""

    probs: tuple[tuple[str, float], ...]  # language and probability, best first
    weight: float  # speech in the window
    is_trusted: bool  # False: its hypothesis is silent or was rejected


def likeliest_language(votes: Sequence[Vote]) -> tuple[str, float]:
    """The likeliest language and its probability, votes weighted by their speech.

    Votes that are not trusted count only if there are no others.
    """
    counted = [vote for vote in votes if vote.is_trusted] or votes
    total = sum(vote.weight for vote in counted)
    sums: dict[str, float] = defaultdict(float)
    for vote in counted:
        for language, probability in vote.probs:
            sums[language] += probability * (vote.weight / total if total else 1 / len(counted))
    return max(sums.items(), key=lambda item: item[1])


def runs_alone(spans: Sequence[SpeechSpan], max_samples: int) -> list[SpeechSpan]:
    """The longest runs of speech, without the pauses around them; empty unless there are two runs or more."""
    runs: list[SpeechSpan] = []
    for span in spans:
        if runs and span.start - runs[-1].end < RUN_GAP_SAMPLES:
            runs[-1] = SpeechSpan(runs[-1].start, span.end)
        else:
            runs.append(span)
    if len(runs) < 2:
        return []
    long = [SpeechSpan(run.start, min(run.end, run.start + max_samples)) for run in runs]
    long = [run for run in long if run.end - run.start >= MIN_ALONE_SAMPLES]
    return sorted(long, key=lambda run: run.start - run.end)[:MAX_ALONE]


class LanguageHearing:
    """Listens to the first windows of a file until its language is decided."""

    def __init__(self, works: Sequence[Work], spans: Sequence[SpeechSpan]) -> None:
        """works: of the whole file, at least one; spans: its speech."""
        self._spans = spans
        self._votes: list[Vote] = []
        self._asked_alone = False
        self._has_text = False  # whether a window may have some, in one language or another
        clear = [work for work in works if not work.stretch.is_doubtful] or list(works)
        self.decoded: list[Work] = []  # windows of the transcript
        self.alone: list[Work] = []  # speech that is heard again, for its language only
        speech = 0
        for work in clear:
            if speech < EVIDENCE_SAMPLES:
                self.decoded.append(work)
                speech += self._weight(work)
        self._hears_all = len(self.decoded) == len(works)

    @property
    def works(self) -> list[Work]:
        """All windows that are heard."""
        return self.decoded + self.alone

    @property
    def is_noise(self) -> bool:
        """Whether the whole file has been heard and no window has text: no language would bring any."""
        return self._hears_all and not self._has_text

    def hear(self, work: Work, hypothesis: Hypothesis, options: RequestOptions, tokenizer: Tokenizer) -> None:
        """Takes the hypothesis of one of `works`."""
        work.first = hypothesis
        verdict = verdict_on(hypothesis, options, tokenizer)
        is_alone = work in self.alone
        self._has_text |= not work.stretch.is_doubtful or is_believed(verdict)
        self._votes.append(
            Vote(
                hypothesis.language_probs or ((hypothesis.language, 1.0),),
                self._weight(work),
                is_trusted=is_alone or not (verdict.rejected or verdict.silent),
            )
        )

    def decision(self, window_of_run: Callable[[SpeechSpan], Window]) -> tuple[str, float] | None:
        """The language and its probability; None while a window is out, once or again."""
        if any(work.first is None for work in self.works):
            return None
        language, probability = likeliest_language(self._votes)
        is_sure = probability >= SURE and any(vote.is_trusted for vote in self._votes)
        if not is_sure and not self._asked_alone and not self.is_noise:
            self._asked_alone = True
            runs = runs_alone(self._spans, WINDOW_SAMPLES)
            if not runs and not self._is_detection:
                # the same speech again, as openai-whisper hears it: its vote replaces the first one
                runs = [work.stretch.span for work in self.decoded]
                self._votes.clear()
            self.alone = [Work(Stretch(run, run), Climb(window_of_run(run))) for run in runs]
            if self.alone:
                return None
        return language, probability

    @property
    def _is_detection(self) -> bool:
        """Whether the first windows are heard for their language only."""
        return self.decoded[0].climb.window.options.task == "detect_language"

    @staticmethod
    def detection(options: RequestOptions) -> DecodingOptions:
        """How a run of speech is heard for its language only."""
        return DecodingOptions(task="detect_language", languages=options.decoding.languages)

    def _weight(self, work: Work) -> int:
        """Samples of speech in the window; all of its samples if no speech was detected."""
        span = work.stretch.span
        return speech_in(self._spans, span) or span.end - span.start
