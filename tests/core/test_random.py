"""Seeds: equal parts give equal streams, different parts unrelated ones."""

from __future__ import annotations

import torch

from speechgen.core.random import generator, mix, placed_noise


def test_seeds_never_change():
    """Same seed, same bytes: across versions too."""
    assert mix(1, "acoustic", 0) == 6842980345736829122


def test_parts_are_told_apart():
    seeds = [mix(1), mix(2), mix(-1), mix(0, 1), mix(1, 0), mix("1", "semantic"), mix(1, "acoustic"), mix(10), mix(1, 0, 0)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_repeat_and_do_not_touch_the_global_one():
    before = torch.get_rng_state()
    one, same, other = (torch.rand(4, generator=generator(*parts)) for parts in ((1, "a"), (1, "a"), (1, "b")))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_of_a_place_does_not_depend_on_where_the_asking_begins():
    rng = generator(3)
    whole = placed_noise(rng, 0, 150_000)
    parts = [placed_noise(rng, start, 30_000) for start in range(0, 150_000, 30_000)]
    assert torch.equal(torch.cat(parts), whole) and abs(float(whole.std()) - 1) < 0.01
    assert not torch.equal(whole[:65536], whole[65536:131072])
    assert not torch.equal(placed_noise(generator(4), 0, 9), whole[:9])
    assert not torch.equal(placed_noise(rng, 0, 9, "other"), whole[:9])
    assert placed_noise(rng, 65536, 0).shape == (0,)
