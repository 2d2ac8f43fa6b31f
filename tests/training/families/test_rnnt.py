"""The transducer loss against the sum over all paths, written out."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from training.families.rnnt import transducer_loss


def over_all_paths(logits: Tensor, targets: list[int]) -> Tensor:
    """Minus the log probability of `targets`: each choice of the frames that write one, the others blanks."""
    log_probs, frames = logits.log_softmax(dim=-1), len(logits)
    paths = []
    for places in itertools.combinations(range(frames), len(targets)):
        done, score = 0, torch.zeros((), dtype=logits.dtype)
        for frame in range(frames):
            said = targets[done] if frame in places else 0
            score = score + log_probs[frame, done, said]
            done += frame in places
        paths.append(score)
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
    logits[0, 0, 0, 2] = logits[0, 1, 1, 3] = logits[0, 2, 2, 0] = 50.0
    loss = transducer_loss(logits, torch.tensor([[2, 3]]), torch.tensor([3]), torch.tensor([2]))
    assert abs(float(loss)) < 1e-4


def test_more_pieces_than_frames_cost_nothing_and_teach_nothing() -> None:
    logits = torch.randn(2, 3, 5, 6, requires_grad=True)
    targets = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 0]])
    loss = transducer_loss(logits, targets, torch.tensor([3, 3]), torch.tensor([4, 3]))
    assert loss[0] == 0 and 0 < loss[1] < 100
    [gradient] = torch.autograd.grad(loss.sum(), logits)
    assert gradient.isfinite().all() and not gradient[0].any() and gradient[1].any()
