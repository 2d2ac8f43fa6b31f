"""Training batches: windows of the demo's speech with word pieces and their places."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.corpus import Corpus
from training.families import fbank, pieces
from training.families.conformer import SUBSAMPLING
from training.speech import SAMPLE_RATE
from training.windows import Window, compose, silent_window

FRAME_S = SUBSAMPLING * fbank.SHIFT / SAMPLE_RATE
PAUSE = -1  # label of a frame without speech


@dataclass(frozen=True, slots=True)
class Stage:
    """Shares are probabilities; lengths and batch sizes are seconds of audio."""

    until: float  # share of the run's processor time
    lengths_s: tuple[float, ...]
    batch_s: float
    silent: float
    augment: float
    far: float  # espeak-ng variants that are learnt later


STAGES = (
    Stage(0.20, (2.0, 3.0, 4.0), 40, 0.02, 0.0, 0.1),
    Stage(0.55, (3.0, 4.0, 6.0), 48, 0.03, 0.15, 0.5),
    Stage(0.80, (4.0, 6.0, 8.0, 12.0), 64, 0.04, 0.3, 0.7),
    Stage(1.00, (4.0, 8.0, 12.0, 24.0), 96, 0.05, 0.3, 0.7),
)


@dataclass(slots=True)
class Batch:
    """Features of windows with what is said in them. Frames are encoder frames of 40 ms."""

    features: Tensor  # float32 [batch, features, 80]
    lengths: Tensor  # int64 [batch], features
    targets: Tensor  # int64 [batch, pieces], 0 beyond the end
    target_lengths: Tensor  # int64 [batch]
    said: Tensor  # int64 [batch, frames], piece id or PAUSE
    audio_s: float


def stage(progress: float) -> Stage:
    return next(one for one in STAGES if progress <= one.until)


def spoken(window: Window) -> list[tuple[int, float, float]]:
    """(piece id, start_s, end_s) of every whole word in the window."""
    return [
        span for placed in window.placed for word, start, end in placed.words
        for span in pieces.timed(word, start, end)
    ]  # fmt: skip


def said(spans: list[tuple[int, float, float]], num_frames: int, centre_s: float) -> np.ndarray:
    """Piece id at each frame, int64 [num_frames]; frame i is heard at i · 40 ms + `centre_s`."""
    rows = np.full(num_frames, PAUSE, np.int64)
    for piece, start_s, end_s in spans:
        first, past = (round((at - centre_s) / FRAME_S) for at in (start_s, end_s))
        rows[max(first, 0) : max(past, first + 1, 0)] = piece
    return rows


def collate(windows: list[Window], kind: fbank.Kind) -> Batch:
    """One batch. NeMo's features end with the content; a stream also hears the silence behind it."""
    features = []
    for window in windows:
        content = round(window.content_s * SAMPLE_RATE) if kind.is_nemo else len(window.samples)
        mel = fbank.log_mel(torch.from_numpy(window.samples[:content]), kind)
        features.append(fbank.per_feature(mel) if kind.is_nemo else mel)
    lengths = torch.tensor([len(one) for one in features])
    spans = [spoken(window) for window in windows]
    targets = [torch.tensor([piece for piece, _, _ in row], dtype=torch.int64) for row in spans]
    centre_s, num_frames = (0.005, -(-int(lengths.max()) // SUBSAMPLING))
    if not kind.is_nemo:
        centre_s, num_frames = 0.035, (int(lengths.max()) - 3) // SUBSAMPLING
    return Batch(
        torch.nn.utils.rnn.pad_sequence(features, batch_first=True),
        lengths,
        torch.nn.utils.rnn.pad_sequence(targets, batch_first=True),
        torch.tensor([len(row) for row in targets]),
        torch.from_numpy(np.stack([said(row, num_frames, centre_s) for row in spans])),
        sum(len(window.samples) for window in windows) / SAMPLE_RATE,
    )


class Clips:
    """Endless batches whose difficulty follows `progress`; `share` of each batch for this process."""

    def __init__(self, folder: Path, kind: fbank.Kind, seed: int, share: float) -> None:
        self.corpus, self.kind, self.share = Corpus(folder), kind, share
        self.rng, self.drawn = random.Random(seed), 0

    def draw(self, progress: float) -> Batch:
        """The next batch."""
        self.drawn += 1
        if self.drawn % 100 == 0:
            self.corpus.refresh()
        return collate(list(self.windows(progress)), self.kind)

    def windows(self, progress: float) -> Iterator[Window]:
        """The windows of one batch, equally long."""
        now = stage(progress)
        self.corpus.far_share = now.far
        seconds = self.rng.choice(now.lengths_s)
        for _ in range(max(2, round(self.share * now.batch_s / seconds))):
            if self.rng.random() < now.silent:
                yield silent_window(self.rng, seconds)
            else:
                yield compose(self.rng, self.corpus, seconds, now.augment)
