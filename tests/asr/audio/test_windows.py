"""Windows: pieces within limits, and the samples and frames of each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import windows
from asr.constants import WINDOW_FRAMES, WINDOW_SAMPLES
from asr.languages import LANGUAGES
from asr.schema import DecodingOptions, SpeechSpan

SECOND = 16_000
OPTIONS = DecodingOptions()

LIMITS = st.integers(SECOND, WINDOW_SAMPLES)


@pytest.mark.parametrize("limit", [0, SECOND - 1, WINDOW_SAMPLES + 1])
def test_a_limit_outside_a_window_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="max_samples"):
        windows.quiet_pieces(np.zeros(1, np.int16), SpeechSpan(0, 1), limit)


@settings(deadline=None)
@given(st.integers(0, 200 * SECOND), LIMITS, st.integers(0, 2**32 - 1))
def test_pieces_cover_everything_once(num_samples: int, limit: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-99, 99, 1000).astype(np.int16)
    samples = np.resize(samples, num_samples)
    spans = windows.quiet_pieces(samples, SpeechSpan(0, num_samples), limit)
    edges = [0] + [span.end for span in spans]
    assert [span.start for span in spans] == edges[:-1]
    assert edges[-1] == num_samples
    assert all(0 < span.end - span.start <= limit for span in spans)


def test_pieces_are_cut_at_the_quietest_moment() -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 45 * SECOND).astype(np.int16)
    samples[27 * SECOND : 27 * SECOND + 800] = 0
    samples[10 * SECOND : 12 * SECOND] = 0  # too early to count
    first, second = windows.quiet_pieces(samples, SpeechSpan(0, len(samples)), 30 * SECOND)
    assert 27 * SECOND < first.end < 27 * SECOND + 800
    assert second.end == len(samples)


def test_window_lengths_by_language() -> None:
    assert windows.window_seconds(None) == windows.window_seconds("en") == 30
    assert windows.window_seconds("hi") == 15
    assert windows.window_seconds("ml") == windows.window_seconds("te") == 8
    assert set(LANGUAGES) >= windows.DENSE_LANGUAGES | windows.DENSEST_LANGUAGES
    assert not windows.DENSE_LANGUAGES & windows.DENSEST_LANGUAGES


@pytest.mark.parametrize(
    ("start", "end", "num_frames", "num_samples"),
    [
        (0, 1, 1, 201),
        (0, 160, 1, 201),
        (500, 661, 1, 201),
        (0, 480_000, 3000, 480_040),
        (99_990, 100_000, 1, 10),  # nothing behind it
    ],
)
def test_a_window_of_a_stretch(start: int, end: int, num_frames: int, num_samples: int) -> None:
    samples = np.arange(1_000_000 if end > 200_000 else 100_000).astype(np.int16)
    window = windows.window_of(samples, SpeechSpan(start, end), OPTIONS)
    assert (window.num_frames, window.left_context, window.log_mel_max) == (num_frames, 0, None)
    np.testing.assert_array_equal(window.samples, samples[start : start + num_samples])


@pytest.mark.parametrize("span", [SpeechSpan(0, 0), SpeechSpan(5, 101), SpeechSpan(-1, 5)])
def test_a_stretch_outside_the_utterance_is_refused(span: SpeechSpan) -> None:
    with pytest.raises(ValueError, match="outside"):
        windows.window_of(np.zeros(100, np.int16), span, OPTIONS)


def stft_frames(signal: np.ndarray, num_frames: int) -> np.ndarray:
    return np.stack([signal[160 * k : 160 * k + 400] for k in range(num_frames)])


@pytest.mark.parametrize("seek", [0, 1, 2, 7, 3000, 4990])
@pytest.mark.parametrize("num_frames", [1, 9, 3000])
def test_a_sequential_window_gives_the_utterances_own_stft_frames(seek: int, num_frames: int) -> None:
    samples = np.random.default_rng(seek).integers(-999, 999, 800_000 + 77).astype(np.int16)
    window = windows.window_at(samples, seek, num_frames, OPTIONS, 1.5)
    assert (window.num_frames, window.log_mel_max) == (num_frames, 1.5)
    assert window.left_context == (200 if seek else 0)

    # openai-whisper: 30 s of zeros behind the utterance, reflection at its start (torch.stft, center=True)
    whole = np.concatenate((samples[200:0:-1], samples, np.zeros(WINDOW_SAMPLES + 200, np.int16)))
    expected = stft_frames(whole[seek * 160 :], num_frames)
    # the engine: the same on the window alone, its own reflection only without left context
    alone = window.samples if seek else np.concatenate((window.samples[200:0:-1], window.samples))
    padded = np.concatenate((alone, np.zeros(num_frames * 160 + 400, np.int16)))
    np.testing.assert_array_equal(stft_frames(padded, num_frames), expected)


@pytest.mark.parametrize(("seek", "num_frames"), [(-1, 1), (0, 0), (0, WINDOW_FRAMES + 1), (7, 1)])
def test_no_window_outside_the_utterance(seek: int, num_frames: int) -> None:
    with pytest.raises(ValueError, match="no window"):
        windows.window_at(np.zeros(1000, np.int16), seek, num_frames, OPTIONS, 0.0)
