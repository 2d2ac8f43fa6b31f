"""The transducer loss against the sum over all paths, written out."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from training.families.rnnt import transducer_loss


def over_all_paths(logits: Tensor, targets: list[int]) -> Tensor:
    """Minus the log probability of `targets`: each order of the labels and of all blanks but the last."""
    log_probs, frames = logits.log_softmax(dim=-1), len(logits)
    steps, paths = frames - 1 + len(targets), []
    for places in itertools.combinations(range(steps), len(targets)):
        frame = done = 0
        score = torch.zeros((), dtype=logits.dtype)
        for step in range(steps):
            if step in places:
                score = score + log_probs[frame, done, targets[done]]
                done += 1
            else:
                score = score + log_probs[frame, done, 0]
                frame += 1
        paths.append(score + log_probs[frame, done, 0])
    return -torch.stack(paths).logsumexp(dim=0)


def test_the_loss_is_that_of_all_paths_with_every_length_and_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[1, 2, 3], [4, 4, 0], [5, 0, 0], [0, 0, 0]])
    lengths, sizes = torch.tensor([5, 3, 1, 4]), torch.tensor([3, 2, 1, 0])
    loss = transducer_loss(logits, targets, lengths, sizes)
    wanted = torch.stack(
        [
            over_all_paths(logits[row, :frames, : size + 1], targets[row, :size].tolist())
            for row, (frames, size) in enumerate(zip(lengths.tolist(), sizes.tolist(), strict=True))
        ]
    )
    torch.testing.assert_close(loss, wanted)
    gradient, wanted_gradient = (torch.autograd.grad(one.sum(), logits)[0] for one in (loss, wanted))
    torch.testing.assert_close(gradient, wanted_gradient)


def test_a_likely_path_costs_nothing() -> None:
    logits = torch.full((1, 3, 3, 4), -50.0)
    logits[0, 0, 0, 2] = logits[0, 0, 1, 0] = logits[0, 1, 1, 3] = 50.0
    logits[0, 1:, 2, 0] = 50.0
    loss = transducer_loss(logits, torch.tensor([[2, 3]]), torch.tensor([3]), torch.tensor([2]))
    assert abs(float(loss)) < 1e-4
