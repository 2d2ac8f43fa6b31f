"""Batches of equal length, made in a worker process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from whisper.audio import HOP_LENGTH, N_FFT, mel_filters

from training.corpus import Corpus
from training.schedule import Schedule
from training.speech import SAMPLE_RATE
from training.targets import IGNORED, Target, target
from training.text import vocabulary
from training.vocabulary_rows import LANGUAGES, compact_ids, tokenizer
from training.windows import STEP_S, WINDOW_S, Window, compose, silent_window

NUM_POSITIONS = 1500
CHARACTERS = ["", " ", *sorted({c for language in LANGUAGES for w in vocabulary(language) for c in w})]
CHARACTER_ROWS = {character: row for row, character in enumerate(CHARACTERS)}


@dataclass(slots=True)
class Batch:
    """Model inputs. Frames are encoder positions of 20 ms, counted from the window's start."""

    log_mel: Tensor  # float32 [batch, 80, frames]
    offset: int  # encoder position of the first frame
    inputs: Tensor  # int64 [batch, tokens]
    labels: Tensor  # int64 [batch, tokens], IGNORED where nothing is learnt
    heard: Tensor  # int64 [batch, tokens, 2], first and one past the last position; 0, 0 is nowhere
    spelling: Tensor  # int64 [batch, frames], row in CHARACTERS of what is being said, 0 in pauses
    naming: Tensor  # int64 [batch, frames], compact id of the token that is being said, end of text in pauses
    audio_s: float


def log_mel(
    samples: Tensor, content_frames: list[int], mel_padded: list[bool], louder: list[float]
) -> Tensor:
    """Whisper's log-Mel spectrogram [batch, 80, samples // 160], with what upstream pads it by.

    `louder`: how much the file's maximum, which sets the floor, lies over the window's (log10).
    `mel_padded`: beyond the content are zeros of the scaled spectrogram, not of the waveform.
    """
    spectrum = torch.stft(samples, N_FFT, HOP_LENGTH, window=torch.hann_window(N_FFT), return_complex=True)
    power = spectrum[..., :-1].abs().square()
    log = (mel_filters("cpu", 80) @ power).clamp(min=1e-10).log10()
    peak = log.amax(dim=(1, 2), keepdim=True) + torch.tensor(louder)[:, None, None]
    scaled = (torch.maximum(log, peak - 8.0) + 4.0) / 4.0
    for row, (frames, is_padded) in enumerate(zip(content_frames, mel_padded, strict=True)):
        if is_padded:
            scaled[row, :, frames:] = 0.0
    return scaled


def collate(rng: random.Random, windows: list[Window], targets: list[Target], offset: int) -> Batch:
    """One batch from windows of one length."""
    samples = torch.from_numpy(np.stack([window.samples for window in windows]))
    content = [round(window.content_s * 100) for window in windows]
    louder = [0.0 if rng.random() < 0.6 else rng.uniform(0, 1.5 if w.placed else 9.0) for w in windows]
    mel = log_mel(samples, content, [rng.random() < 0.5 for _ in windows], louder)
    longest = max(len(one.inputs) for one in targets)
    shape = (len(targets), longest)
    end_of_text = compact_ids()[tokenizer().eot]
    inputs, labels = torch.full(shape, end_of_text), torch.full(shape, IGNORED)
    heard = torch.zeros((*shape, 2), dtype=torch.int64)
    num_frames = mel.shape[-1] // 2
    for row, one in enumerate(targets):
        size = len(one.inputs)
        inputs[row, :size], labels[row, :size] = torch.tensor(one.inputs), torch.tensor(one.labels)
        spans = torch.tensor(one.heard)
        first = (spans[:, 0] / STEP_S).round().long().clamp(0, num_frames - 1)
        past = torch.maximum((spans[:, 1] / STEP_S).round().long(), first + 1).clamp(max=num_frames)
        heard[row, :size] = torch.stack([first, past], dim=1) * (spans[:, 1:] > 0)
    spelling = torch.from_numpy(np.stack([spelled(window, num_frames) for window in windows]))
    naming = torch.from_numpy(np.stack([named(window, num_frames) for window in windows]))
    return Batch(mel, offset, inputs, labels, heard, spelling, naming, samples.numel() / SAMPLE_RATE)


def spelled(window: Window, num_frames: int) -> np.ndarray:
    """The character at each frame, int64 [num_frames]: every word's letters share its time evenly."""
    rows = np.zeros(num_frames, np.int64)
    for placed in window.placed:
        for word, start_s, end_s in placed.words:
            first, past = max(round(start_s / STEP_S), 0), min(round(end_s / STEP_S), num_frames)
            if past > first:
                letters = np.array([CHARACTER_ROWS[character] for character in word])
                rows[first:past] = letters[np.arange(past - first) * len(word) // (past - first)]
    return rows


def named(window: Window, num_frames: int) -> np.ndarray:
    """The text token at each frame, int64 [num_frames] of compact ids."""
    ids = compact_ids()
    rows = np.full(num_frames, ids[tokenizer().eot], np.int64)
    for placed in window.placed:
        for token, start_s, end_s in placed.heard():
            rows[max(round(start_s / STEP_S), 0) : max(round(end_s / STEP_S), 0)] = ids[token]
    return rows


class Batches(IterableDataset):
    """Endless batches whose difficulty follows the schedule; `share` of its batch size each."""

    def __init__(self, folder: Path, schedule: Schedule, seed: int, share: float) -> None:
        self.folder, self.schedule, self.seed, self.share = folder, schedule, seed, share

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        rng = random.Random(self.seed)
        corpus, count = Corpus(self.folder), 0
        while True:
            yield self._batch(rng, corpus)
            count += 1
            if count % 50 == 0:
                corpus.refresh()

    def _batch(self, rng: random.Random, corpus: Corpus) -> Batch:
        stage = self.schedule.stage()
        corpus.far_share = stage.far
        seconds = rng.choice(stage.short_lengths_s) if rng.random() >= stage.full else WINDOW_S
        count = max(2, round(self.share * stage.batch_s / seconds))
        windows = [
            silent_window(rng, seconds)
            if rng.random() < stage.silent
            else compose(rng, corpus, seconds, stage.augment)
            for _ in range(count)
        ]
        offset = 0
        if seconds < WINDOW_S and rng.random() < stage.shifted:
            offset = rng.randrange(NUM_POSITIONS - round(seconds / STEP_S))
        timestamps = 0.0 if offset else stage.timestamps
        targets = [target(rng, corpus, window, timestamps, stage.prompts) for window in windows]
        return collate(rng, windows, targets, offset)


def loader(folder: Path, schedule: Schedule, seed: int, share: float) -> DataLoader:
    """Batches from one worker process, a few ahead of the training step."""
    batches = Batches(folder, schedule, seed, share)
    return DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=6)
