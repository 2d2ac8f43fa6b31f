"""When each token is spoken: cross-attention weights and dynamic time warping (whisper/timing.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from asr.constants import FRAMES_PER_POSITION
from asr.engines.decoding.kv_cache import CrossCache
from asr.engines.decoding.network import StepDecoder
from asr.engines.decoding.time_warping import cheapest_path
from asr.engines.device import torch_threads_kept
from asr.schema import TokenAlignment
from asr.text.tokenizer import Tokenizer

MEDIAN_WIDTH = 7  # positions, as openai-whisper
# scores of all alignment heads, and logits, at once; a large model of unknown heads has 320 of them
MAX_SCORE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class AlignmentTask:
    """One window's text to be placed in its audio."""

    text_tokens: tuple[int, ...]
    sot_sequence: tuple[int, ...]
    num_frames: int


class Aligner:
    def __init__(
        self, decoder: StepDecoder, tokenizer: Tokenizer, heads: Sequence[tuple[int, int]], n_ctx: int
    ):
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._heads = heads
        self._n_ctx = n_ctx

    def __call__(self, tasks: Sequence[AlignmentTask], cross: CrossCache) -> list[TokenAlignment]:
        """One alignment per task, many in one forward pass; `cross` holds their windows in order."""
        tasks = [self._fitting(task) for task in tasks]
        longest = max(len(task.sot_sequence) + len(task.text_tokens) + 2 for task in tasks)
        per_token = len(self._heads) * cross.keys.shape[3] + self._tokenizer.n_vocab
        per_task = longest * per_token * torch.float32.itemsize
        size = max(1, MAX_SCORE_BYTES // per_task)
        aligned: list[TokenAlignment] = []
        for first in range(0, len(tasks), size):
            part = tasks[first : first + size]
            aligned += self._align_together(part, cross.slots(range(first, first + len(part))))
        return aligned

    def _align_together(self, tasks: Sequence[AlignmentTask], cross: CrossCache) -> list[TokenAlignment]:
        sequences = [
            [*task.sot_sequence, self._tokenizer.no_timestamps, *task.text_tokens, self._tokenizer.eot]
            for task in tasks
        ]
        longest = max(map(len, sequences))
        padded = [sequence + [self._tokenizer.eot] * (longest - len(sequence)) for sequence in sequences]
        tokens = torch.tensor(padded, device=cross.keys.device)
        leads = torch.tensor([len(task.sot_sequence) for task in tasks], device=tokens.device)
        # at each text token, what came before it foretells it
        most = max(len(task.text_tokens) for task in tasks)
        places = leads[:, None] + torch.arange(most, device=tokens.device)
        places.clamp_(max=longest - 1)
        logits, scores = self._decoder.scored_logits(tokens, places, cross, self._heads)
        return [
            self._align(task, logits[row], scores[row, :, : len(sequences[row])])
            for row, task in enumerate(tasks)
        ]

    def _fitting(self, task: AlignmentTask) -> AlignmentTask:
        """The task without the text tokens that the decoder has no position for."""
        room = self._n_ctx - len(task.sot_sequence) - 2
        if len(task.text_tokens) <= room:
            return task
        return AlignmentTask(task.text_tokens[:room], task.sot_sequence, task.num_frames)

    def _align(self, task: AlignmentTask, logits: Tensor, scores: Tensor) -> TokenAlignment:
        """logits: [text tokens, n_vocab], padded; scores: float32 [heads, tokens, positions]."""
        lead = len(task.sot_sequence)
        matrix = _matrix(scores, task.num_frames)[lead:-1]  # from no_timestamps to the last text token
        text_indices, positions = _path(-matrix)
        is_jump = np.pad(np.diff(text_indices), (1, 0), constant_values=1).astype(bool)
        return TokenAlignment(
            tokens=task.text_tokens,
            starts=tuple(int(position) for position in positions[is_jump]),
            probs=self._probs(task.text_tokens, logits[: len(task.text_tokens)]),
        )

    def _probs(self, text_tokens: tuple[int, ...], logits: Tensor) -> tuple[float, ...]:
        """Probability of each text token among all text tokens, given those before it."""
        if not text_tokens:
            return ()
        probs = logits[:, : self._tokenizer.eot].softmax(-1)
        index = torch.tensor(text_tokens, device=logits.device)
        return tuple(probs.gather(1, index[:, None])[:, 0].tolist())


def _path(cost: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cheapest way through [tokens, positions] as two rows of indices."""
    if cost.is_cuda:
        from whisper.timing import dtw  # a kernel on the GPU; where it cannot be made, compiled by numba

        with torch_threads_kept():
            text_indices, positions = dtw(cost)
    else:
        text_indices, positions = cheapest_path(cost.numpy())
    return text_indices, positions


def _matrix(scores: Tensor, num_frames: int) -> Tensor:
    """Mean over the heads of the normalised, filtered attention, float32 [tokens, positions]."""
    weights = scores[:, :, : max(1, num_frames // FRAMES_PER_POSITION)].softmax(-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    return _smoothed((weights - mean) / std).mean(0)


def _smoothed(weights: Tensor) -> Tensor:
    """Each position's median over its neighbours, as openai-whisper's `median_filter`."""
    pad = MEDIAN_WIDTH // 2
    if weights.shape[-1] <= pad:
        return weights
    padded = F.pad(weights, (pad, pad, 0, 0), mode="reflect")
    return padded.unfold(-1, MEDIAN_WIDTH, 1).sort()[0][..., pad]
