"""The transducer loss of Graves (2012) in log space, one frame at a time."""

from __future__ import annotations

import torch
from torch import Tensor

NEVER = -1e5  # a log probability that stays finite in sums


def transducer_loss(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Minus the log probability of each row's targets, [batch]; blank is id 0.

    logits [batch, frames, pieces + 1, ids], targets [batch, pieces], both lengths [batch].
    """
    whole = logits.logsumexp(dim=-1)
    blank = logits[..., 0] - whole  # [batch, frames, pieces + 1]
    index = targets[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    label = logits[:, :, :-1].gather(-1, index).squeeze(-1) - whole[..., :-1]
    start = torch.zeros_like(blank[:, :1, :1])
    climbed = torch.cat([start.expand(-1, blank.shape[1], -1), label.cumsum(dim=2)], dim=2)
    arrived = torch.full_like(blank[:, 0], NEVER)
    arrived[:, 0] = 0.0
    reached = []
    for frame in range(blank.shape[1]):
        # α(t, u) = log Σ_{v ≤ u} exp(arrived(v) + labels v+1 … u at frame t)
        alpha = (arrived - climbed[:, frame]).logcumsumexp(dim=1) + climbed[:, frame]
        arrived = alpha + blank[:, frame]
        reached.append(arrived)
    rows = torch.arange(len(targets))
    return -torch.stack(reached, dim=1)[rows, lengths - 1, target_lengths]
