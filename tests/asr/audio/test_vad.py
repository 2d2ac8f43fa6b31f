"""Speech detection: the network frame by frame, and silero-vad's rule for spans."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import media, vad
from asr.audio.levels import local_gains
from asr.config import Limits
from asr.request.options import VadOptions
from asr.schema import SpeechSpan
from scripts.maintenance.vad_network import rewritten

PUBLISHED = Path(__file__).parents[1] / "data" / "silero_vad_16k_sequence.onnx"
ROOT = Path(__file__).parents[3]
JFK = ROOT / "samples" / "jfk.flac"


def spans_of(samples: np.ndarray) -> tuple[SpeechSpan, ...]:
    return vad.spans_from_probs(vad.speech_probs(samples), len(samples), VadOptions())


def test_the_network_is_the_published_one_rewritten() -> None:
    assert rewritten(PUBLISHED.read_bytes()) == (ROOT / "asr" / "assets" / vad.MODEL).read_bytes()


def frame_by_frame(samples: np.ndarray) -> np.ndarray:
    """The official wrapper's loop (silero-vad 6.2.3, `OnnxWrapper`): 64 samples of context, state carried."""
    session = onnxruntime.InferenceSession(PUBLISHED, providers=["CPUExecutionProvider"])
    hidden = cell = np.zeros((1, 1, 128), np.float32)
    context = np.zeros(64, np.float32)
    padded = np.pad(samples.astype(np.float32) / 32768, (0, -len(samples) % 512))
    padded = np.clip(padded * np.repeat(local_gains(samples), 512), -1, 1).astype(np.float32)
    probs = []
    for frame in padded.reshape(-1, 512):
        window = np.concatenate((context, frame))[None]
        prob, hidden, cell = session.run(None, {"input": window, "h": hidden, "c": cell})
        probs.append(float(prob[0]))
        context = frame[-64:]
    return np.array(probs)


@pytest.mark.parametrize("num_samples", [0, 1, 160, 512, 513, 40_000, 1024 * 512, 1024 * 512 + 1])
def test_blocks_equal_the_official_loop(num_samples: int) -> None:
    samples = np.random.default_rng(num_samples).integers(-9000, 9000, num_samples).astype(np.int16)
    probs = vad.speech_probs(samples)
    assert probs.shape == (-(-num_samples // 512),)
    np.testing.assert_allclose(probs, frame_by_frame(samples), atol=5e-5)


def test_real_speech_is_found_where_it_is() -> None:
    clip = media.decode(JFK.read_bytes(), Limits()).samples
    gap = 5 * 16_000
    samples = np.concatenate((np.zeros(gap, np.int16), clip, np.zeros(gap, np.int16)))
    spans = spans_of(samples)
    assert spans
    assert spans[0].start > gap - 8_000
    assert spans[-1].end < gap + len(clip) + 8_000
    assert sum(span.end - span.start for span in spans) > 0.7 * len(clip)
    np.testing.assert_allclose(vad.speech_probs(samples), frame_by_frame(samples), atol=5e-5)


@pytest.mark.parametrize("num_samples", [0, 1, 160, 480_000])
def test_silence_has_no_speech(num_samples: int) -> None:
    assert spans_of(np.zeros(num_samples, np.int16)) == ()


def test_the_session_runs_one_thread_and_is_cached() -> None:
    assert vad._session() is vad._session()
    assert vad._session().get_session_options().intra_op_num_threads == 1


def silero_spans(probs: list[float], num_samples: int, options: VadOptions) -> list[tuple[int, int]]:
    """silero-vad 6.2.3 (MIT), `get_speech_timestamps_from_probs`, without the cut of long speech."""
    speeches: list[dict[str, int]] = []
    current: dict[str, int] = {}
    triggered, temp_end = False, 0
    neg_threshold = max(options.threshold - 0.15, 0.01)
    pad = 16 * options.speech_pad_ms
    for i, prob in enumerate(probs):
        sample = 512 * i
        if prob >= options.threshold and temp_end:
            temp_end = 0
        if prob >= options.threshold and not triggered:
            triggered = True
            current["start"] = sample
            continue
        if prob < neg_threshold and triggered:
            temp_end = temp_end or sample
            if sample - temp_end < 16 * options.min_silence_ms:
                continue
            current["end"] = temp_end
            if current["end"] - current["start"] > 16 * options.min_speech_ms:
                speeches.append(current)
            current, triggered, temp_end = {}, False, 0
    if current and num_samples - current["start"] > 16 * options.min_speech_ms:
        speeches.append({**current, "end": num_samples})
    for i, speech in enumerate(speeches):
        if i == 0:
            speech["start"] = max(0, speech["start"] - pad)
        if i == len(speeches) - 1:
            speech["end"] = min(num_samples, speech["end"] + pad)
            continue
        pause = speeches[i + 1]["start"] - speech["end"]
        speech["end"] += pause // 2 if pause < 2 * pad else pad
        speeches[i + 1]["start"] -= pause // 2 if pause < 2 * pad else pad
    return [(speech["start"], speech["end"]) for speech in speeches]


PROBS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.34, 0.36, 0.49, 0.5, 0.51, 0.9]), st.integers(1, 20)), max_size=30
).map(lambda runs: [prob for prob, length in runs for _ in range(length)])
OPTIONS = st.builds(
    VadOptions,
    threshold=st.sampled_from([0.1, 0.3, 0.5, 0.8]),
    min_speech_ms=st.sampled_from([0, 50, 100, 300]),
    min_silence_ms=st.sampled_from([0, 32, 64, 500]),
    speech_pad_ms=st.sampled_from([0, 30, 33, 200]),
)


@settings(deadline=None)
@given(PROBS, OPTIONS, st.integers(0, 511))
def test_spans_equal_sileros(probs: list[float], options: VadOptions, missing: int) -> None:
    num_samples = max(0, len(probs) * 512 - missing)
    values = np.array(probs, np.float32)
    spans = vad.spans_from_probs(values, num_samples, options)
    assert [(span.start, span.end) for span in spans] == silero_spans(values.tolist(), num_samples, options)


@settings(deadline=None)
@given(PROBS, OPTIONS, st.integers(0, 511))
def test_spans_are_sorted_disjoint_and_inside(probs: list[float], options: VadOptions, missing: int) -> None:
    num_samples = max(0, len(probs) * 512 - missing)
    spans = vad.spans_from_probs(np.array(probs, np.float32), num_samples, options)
    edges = [edge for span in spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert all(span.start < span.end for span in spans)
    assert not edges or (edges[0] >= 0 and edges[-1] <= num_samples)


def test_a_short_pause_does_not_end_a_span_and_a_burst_is_dropped() -> None:
    options = VadOptions(min_speech_ms=100, min_silence_ms=96, speech_pad_ms=0)
    probs = np.array([0.9] * 10 + [0.0] * 3 + [0.9] * 10 + [0.0] * 10 + [0.9] * 2 + [0.0] * 10, np.float32)
    assert vad.spans_from_probs(probs, len(probs) * 512, options) == (SpeechSpan(0, 23 * 512),)


def test_the_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """Its telemetry leaves a session file in the temporary directory as soon as it is imported."""
    silent_in_ci = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    environ = {key: value for key, value in os.environ.items() if key not in silent_in_ci}
    for statement, files in (("import onnxruntime", [".ses"]), ("import asr.audio.vad", [])):
        folder = tmp_path / statement.replace(" ", "-")
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", statement],
            env=environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}, check=True, timeout=60,
        )  # fmt: skip
        assert [file.name for file in folder.iterdir()] == files
