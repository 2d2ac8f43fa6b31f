"""What the processes of a training exchange at each step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn


@torch.no_grad()
def step_matrices(
    muon: torch.optim.Optimizer, matrices: Sequence[nn.Parameter], owned: Sequence[nn.Parameter]
) -> None:
    """Muon's step, each process for its own share of the matrices, then everyone gets all of them."""
    muon.step()
    own = {id(matrix) for matrix in owned}
    flat = torch.cat([(m if id(m) in own else torch.zeros_like(m)).flatten() for m in matrices])
    dist.all_reduce(flat)
    for matrix, new in zip(matrices, flat.split([m.numel() for m in matrices]), strict=True):
        matrix.copy_(new.view_as(matrix))


def average_gradients(network: nn.Module, processes: int) -> None:
    """Mean over the processes; every one of them then takes the same step."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= processes
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
