"""Reading on from a cache is reading the whole; a full cache says so; positions may be fractions."""

from __future__ import annotations

import pytest
import torch

from speechgen.nn.kv_cache import KeyValueCache
from speechgen.nn.patches import fold
from speechgen.nn.positions import angles_at, rotary_angles, rotate
from speechgen.nn.transformer import TransformerBlock


@pytest.fixture
def block() -> TransformerBlock:
    torch.manual_seed(0)
    made = TransformerBlock(16, 2, 2, modulated=True, condition_width=6).eval()
    torch.nn.init.normal_(made.modulation.weight, std=0.2)
    return made


def test_reading_on_is_reading_the_whole(block):
    x, condition = torch.randn(2, 9, 16), torch.randn(2, 9, 6)
    position = torch.rand(2, 9).cumsum(1)
    causal = torch.ones(9, 9, dtype=torch.bool).tril()[None]
    whole = block(x, causal, angles_at(position, 8), condition)
    cache, made = KeyValueCache(1, 9), []
    for start, stop in ((0, 4), (4, 5), (5, 9)):
        part = slice(start, stop)
        made.append(
            block(x[:, part], causal[:, part, :stop], angles_at(position[:, part], 8), condition[:, part], cache.layers[0])
        )
        cache.keep(stop - start)
    torch.testing.assert_close(torch.cat(made, dim=1), whole, rtol=1e-4, atol=1e-5)
    assert cache.length == 9


def test_what_is_not_kept_is_overwritten(block):
    x, cache = torch.randn(1, 3, 16), KeyValueCache(1, 3)
    seen = torch.ones(1, 1, 3, dtype=torch.bool)
    angles = rotary_angles(3, 8, x.device)
    block(x[:, :2], seen[:, :, :2], angles[:2], None, cache.layers[0])
    cache.keep(2)
    first = block(x[:, 2:], seen, angles[2:], None, cache.layers[0])
    block(torch.randn(1, 1, 16), seen, angles[2:], None, cache.layers[0])
    assert torch.equal(block(x[:, 2:], seen, angles[2:], None, cache.layers[0]), first) and cache.length == 2


def test_a_full_cache_says_how_much_it_can_hold():
    cache = KeyValueCache(1, 4)
    with pytest.raises(ValueError, match="cache of 4 positions cannot hold 5"):
        cache.layers[0].extend(torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8))


def test_one_condition_for_a_row_is_the_same_for_each_of_its_positions(block):
    x, condition = torch.randn(2, 4, 16), torch.randn(2, 6)
    valid, angles = torch.ones(2, 4, dtype=torch.bool), rotary_angles(4, 8, x.device)
    each = condition[:, None].expand(-1, 4, -1)
    torch.testing.assert_close(block(x, valid, angles, condition), block(x, valid, angles, each))


def test_whole_positions_have_the_angles_of_their_number_and_shifts_cancel():
    torch.testing.assert_close(angles_at(torch.arange(5.0), 8), rotary_angles(5, 8, torch.device("cpu")))
    q, k = torch.randn(2, 1, 1, 1, 8)
    scores = [
        rotate(q, angles_at(torch.tensor([2.5 + shift]), 8)) @ rotate(k, angles_at(torch.tensor([0.75 + shift]), 8)).mT
        for shift in (0.0, 13.0)
    ]
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)


def test_folding_repeats_the_last_real_value_whatever_pads_the_row():
    values = torch.arange(10.0).view(2, 5, 1)
    folded, counts = fold(values, torch.tensor([5, 3]), 2)
    assert counts.tolist() == [3, 2]
    assert folded[..., 0].tolist() == [[[0, 1], [2, 3], [4, 4]], [[5, 6], [7, 7], [7, 7]]]
