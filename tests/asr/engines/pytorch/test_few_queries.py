"""The loops that attend to the audio without products: what they give, and that torch keeps its threads."""

from __future__ import annotations

import pytest
import torch

from asr.engines.pytorch.few_queries import HEAD_SIZE, attend_few


def exact(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return (q.double() @ keys.double().mT).softmax(-1) @ values.double()


def some(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, HEAD_SIZE, generator=torch.Generator().manual_seed(seed)).bfloat16()


@pytest.mark.parametrize("positions", [1, 7, 1_500])
@pytest.mark.parametrize("queries", [1, 2, 5])
def test_it_is_attention(positions: int, queries: int) -> None:
    q, keys, values = some(4, queries, seed=1) * 0.3, some(4, positions, seed=2), some(4, positions, seed=3)
    found = attend_few(q, keys, values)
    assert found.dtype == torch.bfloat16 and found.shape == q.shape
    # sums in float32: only the result is rounded, to 8 bits
    torch.testing.assert_close(found.double(), exact(q, keys, values), atol=1e-5, rtol=2**-8)


def test_large_scores_do_not_overflow() -> None:
    q, keys, values = some(1, 1, seed=1) * 1_000, some(1, 9, seed=2), some(1, 9, seed=3)
    torch.testing.assert_close(
        attend_few(q, keys, values).double(), exact(q, keys, values), atol=1e-5, rtol=2**-8
    )


def test_nobody_else_changes_a_result() -> None:
    q, keys, values = some(6, 2, seed=1), some(6, 500, seed=2), some(6, 500, seed=3)
    together = attend_few(q, keys, values)
    assert torch.equal(together[4:5], attend_few(q[4:5], keys[4:5], values[4:5]))
    assert torch.equal(together[:, 1:], attend_few(q[:, 1:].contiguous(), keys, values))


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            attend_few(some(2, 1, seed=1), some(2, 30, seed=2), some(2, 30, seed=3))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
