"""The transducer loss of Graves (2012) with at most one piece for each frame, as sherpa-onnx searches."""

from __future__ import annotations

import torch
from torch import Tensor

NEVER = -1e5  # a log probability that stays finite in sums


def transducer_loss(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Minus the log probability of each row's targets, [batch]; blank is id 0.

    logits [batch, frames, pieces + 1, ids], targets [batch, pieces], both lengths [batch]. A row with more
    pieces than frames has no path and costs nothing.
    """
    whole = logits.logsumexp(dim=-1)
    blank = logits[..., 0] - whole  # [batch, frames, pieces + 1]
    index = targets[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    label = logits[:, :, :-1].gather(-1, index).squeeze(-1) - whole[..., :-1]
    arrived = torch.full_like(blank[:, 0], NEVER)
    arrived[:, 0] = 0.0
    reached = []
    for frame in range(blank.shape[1]):
        # α(t + 1, u) = log(exp(α(t, u) + blank) + exp(α(t, u − 1) + label u))
        silent = arrived + blank[:, frame]
        written = torch.logaddexp(silent[:, 1:], arrived[:, :-1] + label[:, frame])
        arrived = torch.cat([silent[:, :1], written], dim=1)
        reached.append(arrived)
    rows = torch.arange(len(targets))
    losses = -torch.stack(reached, dim=1)[rows, lengths - 1, target_lengths]
    return torch.where(target_lengths <= lengths, losses, 0.0)
