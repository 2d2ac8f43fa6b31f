"""Windows → log-Mel spectrograms, all windows of a batch in one STFT on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio.mel import mel_filters
from asr.constants import HOP_LENGTH, N_FFT, STFT_CONTEXT
from asr.schema import Window

PCM_SCALE = 1 / 32_768


class HostToDevice:
    """Copies through pinned memory on a stream of its own; on the CPU nothing is copied.

    Pinned memory is reused by torch's cache of it: a block is handed out again when the copies from it are
    done, so the next windows may be staged while the last ones are still on their way.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def is_pinned(self) -> bool:
        """Whether tensors to be sent have to be made in pinned memory."""
        return self._stream is not None

    def send(self, tensors: Sequence[Tensor]) -> Arrival:
        """Begin to copy; the host does not wait."""
        if self._stream is None:
            return Arrival(tensors, None)
        with torch.cuda.stream(self._stream):
            sent = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
            return Arrival(sent, self._stream.record_event())


class Arrival:
    """Tensors that are complete when the work queued so far on another stream is done."""

    def __init__(self, tensors: Sequence[Tensor], done: torch.cuda.Event | None) -> None:
        self._tensors = tensors
        self._done = done

    def tensors(self) -> Sequence[Tensor]:
        """The tensors, for use on the current stream, which waits for them; the host does not."""
        if self._done is not None:
            current = torch.cuda.current_stream(self._tensors[0].device)
            current.wait_event(self._done)
            for tensor in self._tensors:
                tensor.record_stream(current)  # the memory is not given to the next copy before it was read
        return self._tensors


@dataclass(frozen=True, slots=True)
class Staged:
    """Windows on their way to the device."""

    arrival: Arrival  # samples int16 [batch, samples]; frames int64 [batch]; peaks float32 [batch]
    most: int  # frames of the longest window
    encoder_frames: int


class LogMel:
    """Whisper's feature extraction (whisper/audio.py, log_mel_spectrogram) for stateless windows."""

    def __init__(self, n_mels: int, device: torch.device) -> None:
        self._to_device = HostToDevice(device)
        self._filters = torch.from_numpy(mel_filters(n_mels)).to(device)  # float32 [n_mels, 201]
        self._hann = torch.hann_window(N_FFT).to(device)

    def __call__(self, windows: Sequence[Window]) -> Tensor:
        """`of` the windows, staged just now."""
        return self.of(self.stage(windows))

    def stage(self, windows: Sequence[Window]) -> Staged:
        """Begin to copy the windows to the device; all have the same `encoder_frames`."""
        pinned = self._to_device.is_pinned
        num_frames = [window.num_frames for window in windows]
        peaks = [torch.nan if window.log_mel_max is None else window.log_mel_max for window in windows]
        tensors = (
            _samples(windows, max(num_frames), pinned=pinned),
            torch.tensor(num_frames, pin_memory=pinned),
            torch.tensor(peaks, dtype=torch.float32, pin_memory=pinned),
        )
        return Staged(self._to_device.send(tensors), max(num_frames), windows[0].encoder_frames)

    def of(self, staged: Staged) -> Tensor:
        """Encoder input, float32 [batch, n_mels, encoder_frames] on the device.

        Frames past a window's `num_frames` are zeros, as openai-whisper pads its last window.
        """
        most = staged.most
        pcm, num_frames, peaks = staged.arrival.tensors()
        audio = pcm.float().mul_(PCM_SCALE)
        spectrum = torch.stft(
            audio, N_FFT, HOP_LENGTH, window=self._hann, center=False, return_complex=True
        )  # [batch, 201, most]
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        log_mel = (self._filters @ power).clamp_(min=1e-10).log10_()

        frame = torch.arange(most, device=pcm.device)
        is_padding = (frame >= num_frames[:, None])[:, None]  # [batch, 1, most]
        floor = _floors(peaks, log_mel.masked_fill(is_padding, -torch.inf))
        log_mel = torch.maximum(log_mel, floor[:, None, None]).add_(4.0).div_(4.0)
        log_mel.masked_fill_(is_padding, 0.0)
        return torch.nn.functional.pad(log_mel, (0, staged.encoder_frames - most))


def _floors(peaks: Tensor, log_mel: Tensor) -> Tensor:
    """Lowest value kept in each window, [batch]: 8 below the peak of its utterance or, for NaN, its own."""
    own = log_mel.amax((1, 2))
    return torch.where(peaks.isnan(), own, peaks) - 8.0


def _samples(windows: Sequence[Window], most: int, *, pinned: bool) -> Tensor:
    """int16 [batch, samples] such that STFT frame f of every row starts at sample f * HOP_LENGTH."""
    length = max((most - 1) * HOP_LENGTH + N_FFT, 2 * STFT_CONTEXT + 1)  # the reflection reads sample 200
    pcm = torch.zeros(len(windows), length, dtype=torch.int16, pin_memory=pinned)
    rows: NDArray[np.int16] = pcm.numpy()
    for row, window in zip(rows, windows, strict=True):
        samples = window.samples
        lead = STFT_CONTEXT - window.left_context  # samples the STFT reads that the window does not hold
        end = min(length, lead + len(samples))
        row[lead:end] = samples[: end - lead]
        if lead > 0:
            # the utterance starts here: reflect, as torch.stft(center=True) does
            row[:lead] = row[lead + 1 : 2 * lead + 1][::-1]
    return pcm
