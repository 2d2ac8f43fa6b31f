"""The streaming transducer: conformer in chunks, stateless predictor over two pieces, joiner."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.families import fbank, pieces
from training.families.clips import Batch
from training.families.conformer import Conformer, Shape
from training.families.ctc import frame_loss
from training.families.rnnt import transducer_loss

CHUNK = 16  # encoder frames, 640 ms
LEFT = 48  # encoder frames, 1.92 s
SHAPE = Shape(chunk=CHUNK, left=LEFT)
CONTEXT = 2  # pieces that the predictor sees
MEAN, SCALE = -7.0, 4.0  # of the log mel energies of the demo's speech, roughly
FRAME_WEIGHT, CTC_WEIGHT = 0.5, 0.3


class Predictor(nn.Module):
    """Output [batch, dim] or [batch, steps, dim] from the last two pieces; before the first is nothing."""

    def __init__(self, num_ids: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_ids, dim)
        self.mix = nn.Conv1d(dim, dim, CONTEXT, groups=4)
        self.out = nn.Linear(dim, dim)

    def forward(self, ids: Tensor) -> Tensor:
        """ids [batch, pieces] → [batch, pieces − 1, dim]; an id below 0 counts as no piece at all."""
        embedded = self.embedding(ids.clamp(min=0)) * (ids >= 0)[..., None]
        return self.out(F.relu(self.mix(embedded.transpose(1, 2)).transpose(1, 2)))


class TransducerNetwork(nn.Module):
    """Log mel energies to pieces; id 0 is the blank, piece i has id i + 1."""

    kind = fbank.KALDI
    names = ("transducer", "ctc", "frames", "correct")

    def __init__(self, shape: Shape = SHAPE) -> None:
        super().__init__()
        self.num_ids = len(pieces.pieces()) + 1
        self.encoder = Conformer(shape, fbank.NUM_BINS)
        self.project = nn.Linear(shape.dim, shape.dim)
        self.predictor = Predictor(self.num_ids, shape.dim)
        self.joiner = nn.Linear(shape.dim, self.num_ids)
        self.head, self.frames = nn.Linear(shape.dim, self.num_ids), nn.Linear(shape.dim, self.num_ids)

    def join(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Logits over the ids from projected encoder frames and predictor outputs that broadcast."""
        return self.joiner((encoded + predicted).tanh())

    def encode(self, features: Tensor) -> Tensor:
        """Encoder frames [batch, frames, dim] of whole utterances, as the chunks would give them."""
        return self.encoder((features - MEAN) / SCALE, None)

    def step(
        self, features: Tensor, attended: Tensor, convolved: Tensor, processed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Projected frames [batch, chunk, dim] of one chunk of log mel energies, and the next states."""
        scaled = (features - MEAN) / SCALE
        encoded, attended, convolved = self.encoder.step(scaled, attended, convolved, processed)
        return self.project(encoded), attended, convolved

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Means per piece and per frame; `total` is to be minimised."""
        encoded = self.encode(batch.features)
        targets = batch.targets + 1
        targets = targets * (torch.arange(targets.shape[1]) < batch.target_lengths[:, None])
        before = torch.cat([torch.full_like(targets[:, :1], -1), torch.zeros_like(targets[:, :1])], dim=1)
        predicted = self.predictor(torch.cat([before, targets], dim=1))
        logits = self.join(self.project(encoded)[:, :, None], predicted[:, None]).float()
        lengths = torch.full_like(batch.lengths, encoded.shape[1])
        count = batch.target_lengths.sum().clamp(min=1)
        whole = transducer_loss(logits, targets, lengths, batch.target_lengths).sum() / count
        log_probs = self.head(encoded).float().log_softmax(dim=-1).transpose(0, 1)
        ctc = F.ctc_loss(
            log_probs, targets, lengths, batch.target_lengths, reduction="sum", zero_infinity=True
        ) / count  # fmt: skip
        named, correct = frame_loss(self.frames(encoded), batch.said + (batch.said >= 0).long(), 0)
        total = whole + CTC_WEIGHT * ctc + FRAME_WEIGHT * named
        return {"total": total, "transducer": whole, "ctc": ctc, "frames": named, "correct": correct}
