"""The CTC network: conformer over whole utterances, one linear layer, NeMo's place of the blank."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.families import fbank, pieces
from training.families.clips import PAUSE, Batch
from training.families.conformer import SUBSAMPLING, Conformer, Shape

SHAPE = Shape()
FRAME_WEIGHT = 1.0


class CtcNetwork(nn.Module):
    """Normalised features to log probabilities; a second head, dropped at export, names each frame."""

    kind = fbank.NEMO
    names = ("ctc", "frames", "correct")

    def __init__(self, shape: Shape = SHAPE) -> None:
        super().__init__()
        num_ids = len(pieces.pieces()) + 1
        self.encoder = Conformer(shape, fbank.NUM_BINS)
        self.head, self.frames = nn.Linear(shape.dim, num_ids), nn.Linear(shape.dim, num_ids)

    def log_probs(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Log probabilities [batch, frames, ids], the blank last; features [batch, features, 80]."""
        return self.head(self.encoder(features, lengths)).float().log_softmax(dim=-1)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Means: CTC per piece, cross-entropy per frame, share of right frames; `total` is minimised."""
        encoded = self.encoder(batch.features, batch.lengths)
        log_probs = self.head(encoded).float().log_softmax(dim=-1)
        frames = -(-batch.lengths // SUBSAMPLING)
        whole = F.ctc_loss(
            log_probs.transpose(0, 1), batch.targets, frames, batch.target_lengths,
            blank=log_probs.shape[-1] - 1, reduction="sum", zero_infinity=True,
        )  # fmt: skip
        ctc = whole / batch.target_lengths.sum().clamp(min=1)
        named, correct = frame_loss(self.frames(encoded), batch.said, log_probs.shape[-1] - 1)
        return {"total": ctc + FRAME_WEIGHT * named, "ctc": ctc, "frames": named, "correct": correct}


def frame_loss(logits: Tensor, said: Tensor, pause: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy per frame against `said`, where PAUSE is id `pause`; share of right spoken frames."""
    labels = torch.where(said == PAUSE, pause, said)
    loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
    spoken = said != PAUSE
    right = (logits.detach().argmax(dim=-1) == labels)[spoken].float()
    return loss, right.sum() / spoken.sum().clamp(min=1)
