"""Samples of any level → speech spans, by Silero's network through onnxruntime (no torch).

The network sees 32 ms frames with the 4 ms before each and carries an LSTM state. It takes many frames in one
call, each as four pieces that overlap by half. Its probabilities become spans by silero-vad's rule (6.2.3,
`utils_vad.py`, `get_speech_timestamps_from_probs`).
"""

from __future__ import annotations

import functools
import threading
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from asr.audio.levels import FRAME_SAMPLES, local_gains
from asr.audio.onnx_runtime import onnxruntime
from asr.constants import SAMPLE_RATE
from asr.request.options import VadOptions
from asr.schema import Samples, SpeechSpan

CONTEXT_SAMPLES = 64  # of the previous frame, in front of each frame
STATE_SIZE = 128
PIECES = 4  # of a frame with its context; the network makes a spectrum of each
PIECE_SAMPLES, PIECE_HOP = 256, 128
FRAMES_PER_CALL = 1_024  # 33 s; bounds the float copy to 4.2 MB however long the audio is
HYSTERESIS = 0.15  # speech ends below threshold - HYSTERESIS
MIN_NEG_THRESHOLD = 0.01
MODEL = "silero_vad_16k_matrices.onnx"

Probs = NDArray[np.float32]  # speech probability of each 32 ms frame, the last frame padded with silence
State = tuple[NDArray[np.float32], NDArray[np.float32]]  # the network's LSTM: hidden and cell

_session_lock = threading.Lock()


def speech_probs(samples: Samples) -> Probs:
    """Speech probability of every 512-sample frame, float32 [ceil(n / 512)]."""
    num_frames = -(-len(samples) // FRAME_SAMPLES)
    probs = np.empty(num_frames, np.float32)
    gains = local_gains(samples)
    state = first_state()
    for first in range(0, num_frames, FRAMES_PER_CALL):
        last = min(first + FRAMES_PER_CALL, num_frames)
        sound = _sound(samples, first, last)
        context_gain = gains[max(first - 1, 0)]
        probs[first:last], state = heard(sound, gains[first:last], context_gain, state)
    return probs


def first_state() -> State:
    """The network's state before any sound."""
    return np.zeros((1, 1, STATE_SIZE), np.float32), np.zeros((1, 1, STATE_SIZE), np.float32)


def heard(
    sound: NDArray[np.float32], gains: NDArray[np.float32], context_gain: np.float32, state: State
) -> tuple[Probs, State]:
    """Speech probability of n frames, and the state behind them.

    sound: float32 [64 + 512 n] in [-1, 1], the context of the first frame and the frames, raised in place by
    gains, float32 [n], and context_gain.
    """
    if context_gain > 1.0 or (gains > 1.0).any():
        sound[:CONTEXT_SAMPLES] *= context_gain
        sound[CONTEXT_SAMPLES:].reshape(-1, FRAME_SAMPLES)[:] *= gains[:, np.newaxis]
        np.clip(sound, -1.0, 1.0, out=sound)
    hidden, cell = state
    probs, hidden, cell = _session().run(
        ["speech_probs", "hn", "cn"], {"pieces": _pieces(sound), "h": hidden, "c": cell}
    )
    return probs, (hidden, cell)


def spans_from_probs(probs: Probs, num_samples: int, options: VadOptions) -> tuple[SpeechSpan, ...]:
    """Spans of speech by hysteresis: sorted, disjoint, within [0, num_samples)."""
    spans = _detected(probs, num_samples, options)
    return _padded(spans, num_samples, _samples(options.speech_pad_ms))


def _detected(probs: Probs, num_samples: int, options: VadOptions) -> list[SpeechSpan]:
    """Unpadded spans: begun at `threshold`, ended by `min_silence_ms` below the lower threshold."""
    neg_threshold = max(options.threshold - HYSTERESIS, MIN_NEG_THRESHOLD)
    min_silence = _samples(options.min_silence_ms)
    min_speech = _samples(options.min_speech_ms)
    spans: list[SpeechSpan] = []
    start: int | None = None  # of the open span
    silence: int | None = None  # start of the pause at its end, None within speech
    for index, prob in enumerate(probs.tolist()):
        position = index * FRAME_SAMPLES
        if prob >= options.threshold:
            silence = None
            if start is None:
                start = position
                continue
        if prob < neg_threshold and start is not None:
            silence = position if silence is None else silence
            if position - silence >= min_silence:
                if silence - start > min_speech:
                    spans.append(SpeechSpan(start, silence))
                start = silence = None
    if start is not None and num_samples - start > min_speech:
        spans.append(SpeechSpan(start, num_samples))
    return spans


def _padded(spans: list[SpeechSpan], num_samples: int, pad: int) -> tuple[SpeechSpan, ...]:
    """Spans grown by `pad` on both sides; two that would meet share the pause between them."""
    starts = [span.start for span in spans]
    ends = [span.end for span in spans]
    if spans:
        starts[0] = max(0, starts[0] - pad)
        ends[-1] = min(num_samples, ends[-1] + pad)
    for index in range(len(spans) - 1):
        pause = spans[index + 1].start - spans[index].end
        grow = pad if pause >= 2 * pad else pause // 2
        ends[index] += grow
        starts[index + 1] -= grow
    return tuple(SpeechSpan(start, end) for start, end in zip(starts, ends, strict=True))


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000


def _sound(samples: Samples, first: int, last: int) -> NDArray[np.float32]:
    """Frames first..last with the context of the first, float32 in [-1, 1]."""
    start, end = first * FRAME_SAMPLES - CONTEXT_SAMPLES, last * FRAME_SAMPLES
    sound = np.zeros(end - start, np.float32)  # silence before the audio and after it
    inside = samples[max(start, 0) : end]
    offset = max(-start, 0)
    sound[offset : offset + len(inside)] = inside
    sound /= 32768.0
    return sound


def _pieces(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pieces of the frames behind the context, float32 [4 n, 256]."""
    size = CONTEXT_SAMPLES + FRAME_SAMPLES
    step, item = FRAME_SAMPLES * sound.itemsize, sound.itemsize
    num_frames = (len(sound) - CONTEXT_SAMPLES) // FRAME_SAMPLES
    frames = np.lib.stride_tricks.as_strided(sound, (num_frames, size), (step, item), writeable=False)
    pieces = np.empty((num_frames, PIECES, PIECE_SAMPLES), np.float32)
    for index in range(PIECES - 1):
        pieces[:, index] = frames[:, index * PIECE_HOP :][:, :PIECE_SAMPLES]
    rest = size - (PIECES - 1) * PIECE_HOP  # of the last piece, which ends with the frame's end reflected
    pieces[:, -1, :rest] = frames[:, -rest:]
    pieces[:, -1, rest:] = frames[:, -2 : rest - PIECE_SAMPLES - 2 : -1]
    return pieces.reshape(-1, PIECE_SAMPLES)


def _session() -> onnxruntime.InferenceSession:
    with _session_lock:  # two media threads may need it first at the same moment
        return _load_session()


@functools.cache
def _load_session() -> onnxruntime.InferenceSession:
    """The network on one thread, loaded once per process."""
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1
    model = resources.files("asr").joinpath("assets", MODEL).read_bytes()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
