"""Speech spans → the stretches of an utterance that become windows: few, full, cut at the longest pauses.

A stretch is contiguous audio, pauses included: a time in it plus its start is a time on the utterance's
clock, and no time has to be mapped back. The detector decides where to cut; the model also hears what lies
around the speech, as a window is padded to 30 s anyway.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.vad import Probs
from asr.audio.windows import check_limit
from asr.constants import SAMPLE_RATE, SAMPLES_PER_POSITION
from asr.schema import SpeechSpan

AROUND_SAMPLES = SAMPLE_RATE  # before and after the speech, where there is room
MIN_UNHEARD_SAMPLES = 2 * SAMPLE_RATE  # a shorter gap between two windows is not decoded

# Costs of a plan, without a unit; the cheapest plan wins. One more window is better than a cut inside a word.
WINDOW_COST = 6.0
WORD_COST = 12.0  # of a cut where there is no pause; falls to nothing at GOOD_PAUSE_SECONDS
PAUSE_COST = 0.5  # of a cut in a good pause; falls to nothing at LONG_PAUSE_SECONDS
GOOD_PAUSE_SECONDS = 0.4
LONG_PAUSE_SECONDS = 3.0
SCRAP_COST = 4.0  # of a window with less speech than SCRAP_SAMPLES
SCRAP_SAMPLES = 3 * SAMPLE_RATE

QUIET_PROB = 0.35  # of speech, below which a frame inside a span counts as a short pause
CUT_EVERY_SAMPLES = SAMPLE_RATE // 2  # of a long span, for each possible cut


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the utterance that becomes one window."""

    speech: SpeechSpan  # from its first speech to its last
    span: SpeechSpan  # all that the model hears; holds `speech`, overlaps no other stretch
    is_doubtful: bool = False  # it has sound in which the detector found no speech


def plan_stretches(
    spans: Sequence[SpeechSpan],
    bounds: SpeechSpan,
    max_samples: int,
    probs: Probs,
    max_gap_samples: int | None = None,
) -> tuple[Stretch, ...]:
    """Stretches of at most `max_samples` that hold every speech sample inside `bounds` exactly once.

    spans: sorted and disjoint; probs: of the whole utterance; max_gap_samples: a longer pause always ends a
    stretch, None for no such rule. Bounds that fit one window are one stretch, from edge to edge.
    """
    check_limit(max_samples)
    spans = clip_spans(spans, bounds.start, bounds.end)
    if not spans:
        return ()
    pauses = [after.start - before.end for before, after in itertools.pairwise(spans)]
    is_whole = max_gap_samples is None or max([0, *pauses]) <= max_gap_samples
    if bounds.end - bounds.start <= max_samples and is_whole:
        return (Stretch(SpeechSpan(spans[0].start, spans[-1].end), bounds),)
    atoms = [atom for span in spans for atom in _atoms(span, max_samples, probs)]
    return _surrounded(_grouped(atoms, max_samples, max_gap_samples), bounds, max_samples)


def unheard(stretches: Sequence[Stretch], bounds: SpeechSpan) -> list[SpeechSpan]:
    """The gaps between the stretches inside `bounds` that are long enough to be decoded."""
    edges = [bounds.start, *(edge for s in stretches for edge in (s.span.start, s.span.end)), bounds.end]
    gaps = [SpeechSpan(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    least = MIN_UNHEARD_SAMPLES if stretches else 1
    return [gap for gap in gaps if gap.end - gap.start >= least]


def speech_in(spans: Sequence[SpeechSpan], part: SpeechSpan) -> int:
    """Samples of the spans that lie in `part`."""
    return sum(span.end - span.start for span in clip_spans(spans, part.start, part.end))


def clip_spans(spans: Sequence[SpeechSpan], start: int, end: int) -> tuple[SpeechSpan, ...]:
    """The parts of the spans inside [start, end)."""
    clipped = (SpeechSpan(max(span.start, start), min(span.end, end)) for span in spans)
    return tuple(span for span in clipped if span.start < span.end)


@dataclass(frozen=True, slots=True)
class _Atom:
    """Speech that is not cut, and the pause before it."""

    span: SpeechSpan
    pause_s: float  # 0 or more; inside a span, the run of quiet frames at the cut


def _atoms(span: SpeechSpan, max_samples: int, probs: Probs) -> list[_Atom]:
    """The span, in several atoms if it is longer than a window."""
    start, pause_s = span.start, -1.0  # _cut_cost measures the pause before a span
    atoms: list[_Atom] = []
    if span.end - span.start > max_samples:
        for first in range(span.start + CUT_EVERY_SAMPLES, span.end - CUT_EVERY_SAMPLES, CUT_EVERY_SAMPLES):
            cut, quiet_s = _best_cut(probs, first, first + CUT_EVERY_SAMPLES)
            if cut > start:
                atoms.append(_Atom(SpeechSpan(start, cut), pause_s))
                start, pause_s = cut, quiet_s
    return [*atoms, _Atom(SpeechSpan(start, span.end), pause_s)]


def _best_cut(probs: Probs, first: int, last: int) -> tuple[int, float]:
    """Middle of the run of quiet frames around the least speech-like frame of first..last, and its seconds.

    If that frame is not quiet: its middle, and 0.
    """
    low, high = first // FRAME_SAMPLES, max(last // FRAME_SAMPLES, first // FRAME_SAMPLES + 1)
    part = probs[low:high]
    if not len(part):
        return first, 0.0
    lowest = low + len(part) - 1 - int(np.argmin(part[::-1]))
    begin = end = lowest
    if probs[lowest] < QUIET_PROB:
        while begin > 0 and probs[begin - 1] < QUIET_PROB:
            begin -= 1
        while end + 1 < len(probs) and probs[end + 1] < QUIET_PROB:
            end += 1
    middle = (begin + end + 1) * FRAME_SAMPLES // 2
    quiet_s = (end - begin + 1) * FRAME_SAMPLES / SAMPLE_RATE if probs[lowest] < QUIET_PROB else 0.0
    return min(max(middle, first), last - 1), quiet_s


def _grouped(atoms: Sequence[_Atom], max_samples: int, max_gap_samples: int | None) -> list[SpeechSpan]:
    """The cheapest grouping of consecutive atoms into windows, by dynamic programming over the utterance."""
    costs, begins = [0.0], [0]  # for the first n atoms: cost of the best plan, first atom of its last group
    for end in range(1, len(atoms) + 1):
        best, begin, speech = float("inf"), end - 1, 0
        for first in range(end - 1, -1, -1):
            following = atoms[first + 1].span if first + 1 < end else None
            gap = following.start - atoms[first].span.end if following else 0
            too_long = atoms[end - 1].span.end - atoms[first].span.start > max_samples
            if first + 1 < end and (too_long or (max_gap_samples is not None and gap > max_gap_samples)):
                break
            speech += atoms[first].span.end - atoms[first].span.start
            cost = costs[first] + WINDOW_COST + SCRAP_COST * (speech < SCRAP_SAMPLES)
            cost += _cut_cost(atoms, first)
            if cost < best:
                best, begin = cost, first
        costs.append(best)
        begins.append(begin)
    groups: list[SpeechSpan] = []
    end = len(atoms)
    while end:
        groups.append(SpeechSpan(atoms[begins[end]].span.start, atoms[end - 1].span.end))
        end = begins[end]
    return groups[::-1]


def _cut_cost(atoms: Sequence[_Atom], index: int) -> float:
    """The cost of a cut before this atom."""
    if index == 0:
        return 0.0
    atom = atoms[index]
    pause_s = atom.pause_s
    if pause_s < 0:
        pause_s = (atom.span.start - atoms[index - 1].span.end) / SAMPLE_RATE
    word = WORD_COST * max(0.0, 1.0 - pause_s / GOOD_PAUSE_SECONDS)
    return word + PAUSE_COST * (1.0 - min(pause_s, LONG_PAUSE_SECONDS) / LONG_PAUSE_SECONDS)


def _surrounded(groups: Sequence[SpeechSpan], bounds: SpeechSpan, max_samples: int) -> tuple[Stretch, ...]:
    """Each group with its surroundings, at most to the middle of a pause: no sample is in two stretches."""
    stretches = []
    for index, group in enumerate(groups):
        before = (groups[index - 1].end + group.start) // 2 if index else bounds.start
        after = (group.end + groups[index + 1].start) // 2 if index + 1 < len(groups) else bounds.end
        spare = max_samples - (group.end - group.start)
        left = min(AROUND_SAMPLES, group.start - before)
        right = min(AROUND_SAMPLES, after - group.end, spare - min(left, spare // 2))
        left = min(left, spare - right)
        left -= left % SAMPLES_PER_POSITION  # speech that begins on a tick of the timestamps stays on one
        stretches.append(Stretch(group, SpeechSpan(group.start - left, group.end + right)))
    return tuple(stretches)
