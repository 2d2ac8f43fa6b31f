"""The order of attention's products: chosen by processor, and without any influence on what comes out."""

from __future__ import annotations

import itertools

import pytest
import torch

from asr.engines.decoding.kv_cache import CrossCache
from asr.engines.device import Placement
from asr.engines.pytorch import attention
from asr.engines.pytorch.attention import AttentionLayout, Operand, attention_layout, cpu_is_intels, times

CPU = torch.device("cpu")
ORDERS = [Operand(is_swapped, first) for is_swapped, first in itertools.product((False, True), (0, 1, 2))]


@pytest.mark.parametrize("how", ORDERS)
@pytest.mark.parametrize("queries", [1, 2, 3])
def test_every_order_gives_the_product(how, queries):
    generator = torch.Generator().manual_seed(queries)
    rows = torch.randn(4, queries, 8, generator=generator)
    kept = torch.randn(4, 8, 30, generator=generator)
    torch.testing.assert_close(times(rows, kept, how), rows @ kept)


@pytest.mark.parametrize(
    ("dtype", "has_amx", "is_intels", "is_fused", "loops"),
    [
        (torch.bfloat16, True, True, True, 0),
        (torch.bfloat16, False, True, False, 2),
        (torch.bfloat16, False, False, False, 2),
        (torch.float32, True, True, True, 0),
        (torch.float32, False, False, False, 0),
    ],
)
def test_the_processor_decides(monkeypatch, dtype, has_amx, is_intels, is_fused, loops):
    monkeypatch.setattr(attention, "cpu_has_amx", lambda: has_amx)
    monkeypatch.setattr(attention, "cpu_is_intels", lambda: is_intels)
    layout = attention_layout(Placement(CPU, dtype))
    assert (layout.fused_encoder, layout.loops_up_to) == (is_fused, loops)
    assert attention_layout(Placement(torch.device("cuda", 0), dtype)) == AttentionLayout()


def test_the_maker_is_read(tmp_path):
    info = tmp_path / "cpuinfo"
    assert not cpu_is_intels(str(info))
    info.write_text("vendor_id\t: AuthenticAMD\n")
    assert not cpu_is_intels(str(info))
    info.write_text("vendor_id\t: GenuineIntel\n")
    assert cpu_is_intels(str(info))


@pytest.mark.parametrize(
    ("keys", "values"), list(itertools.product((Operand(), Operand(is_swapped=True)), repeat=2))
)
def test_a_cache_is_the_same_in_any_order(keys, values):
    cross = CrossCache.empty(
        (2, 4, 3, 5, 8),
        Placement(CPU, torch.float32),
        keys_swapped=keys.is_swapped,
        values_swapped=values.is_swapped,
    )
    content = torch.arange(cross.keys.numel(), dtype=torch.float32).view(cross.keys.shape)
    cross.keys.copy_(content)
    cross.values.copy_(-content)
    cut = cross.select([3, 1])
    grown = cross.slots([1, 2]).padded(3)
    kept = cross.copied()
    cross.move(torch.tensor([3]), torch.tensor([0]))
    for cache, expected in ((cut, [3, 1]), (grown, [1, 2, 1]), (kept, [0, 1, 2, 3]), (cross, [3, 1, 2, 3])):
        assert cache.keys.equal(content[:, expected])
        assert cache.values.equal(-content[:, expected])
        for tensor, how in ((cache.keys, keys), (cache.values, values)):
            assert (tensor.stride(-1) != 1) == how.is_swapped
