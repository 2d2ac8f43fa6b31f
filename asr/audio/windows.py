"""A part of an utterance → a Window: samples, frames, and the context that its spectrogram needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from asr.constants import HOP_LENGTH, SAMPLE_RATE, STFT_CONTEXT, WINDOW_FRAMES, WINDOW_SAMPLES, WINDOW_SECONDS
from asr.schema import DecodingOptions, Samples, SpeechSpan, Window

CUT_SEARCH_SECONDS = 5  # a forced cut lies within this much of the limit
QUIET_SAMPLES = 512  # 32 ms: long enough to tell a pause from a zero crossing
MIN_REST_SECONDS = 1  # a cut leaves at least this much for the next stretch, where it can

# Whisper was trained on 30 s. With less than 10 s, or without some silence behind the speech, it loops.
ENCODER_FRAMES = (1_000, 1_500)
MARGIN_FRAMES = 400
SHORT_LANGUAGES = ("en",)  # measured to keep their words in short windows: docs/adr/0015

# A window's text must fit the 224 tokens Whisper decodes, and Whisper's vocabulary spells many scripts almost
# byte by byte. Tokens per character of one sentence (article 1 of the UN declaration), and the seconds that
# fill a window at 14 characters a second: English 0.2 (78 s) · Hindi, Marathi, Nepali 1.0 (15 s) · Sanskrit,
# Armenian 1.2 (14 s) · Tamil 0.8, Thai 1.0 (19 and 16 s) · Kannada, Sinhala 1.7 (9 s) · Bengali, Punjabi,
# Telugu 2.0 (8 s) · Malayalam, Georgian 2.3 (7 s) · Gujarati, Burmese, Lao, Tibetan 2.6 to 3 (5 to 6 s: these
# are sought again at the cap). Chinese and Japanese take 1 token a character too, but speak only 4 to 7
# characters a second.
DENSE_SECONDS = 15.0
DENSE_LANGUAGES = frozenset({"hi", "mr", "ne", "sa", "ta", "th", "hy"})
DENSEST_SECONDS = 8.0
DENSEST_LANGUAGES = frozenset(
    {"am", "as", "bn", "bo", "gu", "ka", "km", "kn", "lo", "ml", "my", "pa", "si", "te"}
)


def window_seconds(language: str | None) -> float:
    """Longest stretch, in seconds, whose text fits Whisper's token cap in that language (ISO 639-1)."""
    if language in DENSEST_LANGUAGES:
        return DENSEST_SECONDS
    if language in DENSE_LANGUAGES:
        return DENSE_SECONDS
    return float(WINDOW_SECONDS)


def quiet_pieces(samples: Samples, bounds: SpeechSpan, max_samples: int) -> tuple[SpeechSpan, ...]:
    """`bounds` in pieces of at most `max_samples`, each cut at the quietest 32 ms near its limit."""
    check_limit(max_samples)
    pieces: list[SpeechSpan] = []
    start = bounds.start
    while bounds.end - start > max_samples:
        first, last = _cut_range(start, bounds.end, max_samples)
        cut = quietest_cut(samples, first, last)
        pieces.append(SpeechSpan(start, cut))
        start = cut
    if start < bounds.end:
        pieces.append(SpeechSpan(start, bounds.end))
    return tuple(pieces)


def quietest_cut(samples: Samples, first: int, last: int) -> int:
    """Middle of the quietest 32 ms of `samples` within first..last; the latest of several."""
    region = samples[first:last].astype(np.float64)
    if len(region) <= QUIET_SAMPLES:
        return last
    total = np.concatenate(([0.0], np.cumsum(region * region)))
    energy = total[QUIET_SAMPLES:] - total[:-QUIET_SAMPLES]
    lowest = len(energy) - 1 - int(np.argmin(energy[::-1]))
    return first + lowest + QUIET_SAMPLES // 2


def window_of(samples: Samples, span: SpeechSpan, options: DecodingOptions) -> Window:
    """The stretch as a window on its own: no left context, its own maximum.

    `samples` is the whole utterance: the last STFT frame also reads samples behind the stretch.
    """
    if not 0 <= span.start < span.end <= len(samples):
        raise ValueError(f"{span} is empty or outside the utterance's {len(samples)} samples")
    if span.end - span.start > WINDOW_SAMPLES:
        raise ValueError(f"{span} is longer than a window's {WINDOW_SAMPLES} samples")
    num_frames = max(1, (span.end - span.start) // HOP_LENGTH)  # whole frames, as openai-whisper counts them
    return Window(samples[span.start : _context_end(span.start, num_frames)], num_frames, options)


def window_with_silence(samples: Samples, span: SpeechSpan, options: DecodingOptions) -> Window:
    """The stretch with silence behind it up to 30 s, as openai-whisper detects languages.

    `window_of` pads with zeros in the mel domain instead, as openai-whisper decodes.
    """
    return Window(samples[span.start : span.end], WINDOW_FRAMES, options)


def shortened(window: Window) -> Window:
    """The window for an encoder that hears no more silence behind it than it needs; lengths are few, so that
    windows of one length meet in a batch. Unchanged in a language that loses words so."""
    if window.options.language not in (None, *SHORT_LANGUAGES):
        return window
    needed = window.num_frames + MARGIN_FRAMES
    return replace(window, encoder_frames=next((n for n in ENCODER_FRAMES if n >= needed), WINDOW_FRAMES))


def of_its_length(window: Window) -> Window:
    """The window for a model that hears no silence behind it: in a batch of windows about as long."""
    longer = next((n for n in ENCODER_FRAMES if n >= window.num_frames), WINDOW_FRAMES)
    return replace(window, encoder_frames=longer)


def window_at(
    samples: Samples, seek_frames: int, num_frames: int, options: DecodingOptions, log_mel_max: float
) -> Window:
    """The window of `num_frames` mel frames at `seek_frames`, with the context of openai-whisper's STFT.

    `samples` is the whole utterance, `log_mel_max` the log10 maximum of its spectrogram.
    """
    if not 0 <= seek_frames * HOP_LENGTH < max(len(samples), 1) or not 0 < num_frames <= WINDOW_FRAMES:
        raise ValueError(f"no window of {num_frames} frames at frame {seek_frames} of {len(samples)} samples")
    start = seek_frames * HOP_LENGTH
    end = _context_end(start, num_frames)
    if start == 0:
        return Window(samples[:end], num_frames, options, 0, log_mel_max)
    stretch = samples[max(0, start - STFT_CONTEXT) : end]
    missing = STFT_CONTEXT - start
    if missing > 0:  # only at frame 1, whose first STFT frame still reads the reflected start
        stretch = np.concatenate((samples[missing:0:-1], stretch))
    return Window(stretch, num_frames, options, STFT_CONTEXT, log_mel_max)


def _context_end(start: int, num_frames: int) -> int:
    """One past the last sample that the STFT of `num_frames` frames from `start` reads, reflected or not."""
    return start + max((num_frames - 1) * HOP_LENGTH + STFT_CONTEXT, STFT_CONTEXT + 1)


def check_limit(max_samples: int) -> None:
    """Raises ValueError unless a window may have that length."""
    if not SAMPLE_RATE <= max_samples <= WINDOW_SAMPLES:
        raise ValueError(f"max_samples is {max_samples}, must be {SAMPLE_RATE}..{WINDOW_SAMPLES}")


def _cut_range(start: int, end: int, max_samples: int) -> tuple[int, int]:
    """First and last sample where the stretch from `start` may be cut without leaving a tiny rest."""
    last = start + max_samples
    first = last - min(CUT_SEARCH_SECONDS * SAMPLE_RATE, max_samples // 2)
    return first, max(first, min(last, end - min(MIN_REST_SECONDS * SAMPLE_RATE, max_samples // 2)))
