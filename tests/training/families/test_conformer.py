"""Chunks give what the whole utterance gives, and padding changes nothing."""

from __future__ import annotations

import torch

from training.families.conformer import Conformer, Shape

TINY = Shape(dim=16, heads=2, layers=2, hidden=24, kernel=3, chunk=4, left=6)


def test_chunk_by_chunk_is_the_whole_utterance() -> None:
    torch.manual_seed(0)
    encoder = Conformer(TINY, 80).eval()
    num_chunks, size = 4, 4 * TINY.chunk
    features = torch.randn(2, num_chunks * size + 3, 80)
    attended = torch.zeros(TINY.layers, TINY.left, 2, TINY.dim)
    convolved = torch.zeros(TINY.layers, TINY.kernel - 1, 2, TINY.dim)
    pieces = []
    with torch.no_grad():
        for start in range(0, num_chunks * size, size):
            chunk = features[:, start : start + size + 3]
            encoded, attended, convolved = encoder.step(
                chunk, attended, convolved, torch.tensor([start, start])
            )
            pieces.append(encoded)
        whole = encoder(features, None)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_a_chunk_does_not_hear_the_next_one() -> None:
    torch.manual_seed(0)
    encoder = Conformer(TINY, 80).eval()
    features = torch.randn(1, 35, 80)
    later = features.clone()
    later[:, 19:] = 0
    with torch.no_grad():
        before, after = encoder(features, None), encoder(later, None)
    torch.testing.assert_close(before[:, : TINY.chunk], after[:, : TINY.chunk])
    assert (before[:, TINY.chunk :] - after[:, TINY.chunk :]).abs().max() > 1e-3


def test_padding_of_a_batch_is_not_heard() -> None:
    torch.manual_seed(0)
    encoder = Conformer(Shape(dim=16, heads=2, layers=2, hidden=24, kernel=3), 80).eval()
    features = torch.randn(2, 41, 80)
    features[1, 30:] = -23.0
    with torch.no_grad():
        both = encoder(features, torch.tensor([41, 30]))
        alone = encoder(features[1:, :30], torch.tensor([30]))
    torch.testing.assert_close(both[1, : alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)
