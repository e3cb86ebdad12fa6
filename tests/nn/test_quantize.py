"""Residual quantisation against its definition, and codebooks that learn."""

from __future__ import annotations

import pytest
import torch

from speechgen.core.random import generator
from speechgen.nn.quantize import ResidualQuantizer, perplexity


def clusters(rng_seed: int, rows: int = 8, frames: int = 40, width: int = 4, centres: int = 12) -> torch.Tensor:
    """Latents [B, D, T] around a few centres."""
    rng = torch.Generator().manual_seed(rng_seed)
    places = 3 * torch.randn(centres, width, generator=torch.Generator().manual_seed(99))
    chosen = places[torch.randint(centres, (rows, frames), generator=rng)]
    return (chosen + 0.1 * torch.randn(chosen.shape, generator=rng)).transpose(1, 2)


@pytest.fixture
def trained() -> ResidualQuantizer:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(3, 16, 4)
    rng = generator(0)
    for step in range(30):
        quantizer.learn(clusters(step), rng=rng)
    return quantizer


def test_codes_are_the_nearest_vectors_of_what_is_left(trained):
    """Reference: level by level, by all distances."""
    latent = clusters(100)
    rest = latent.transpose(1, 2)  # [B, T, D]
    for level, found in enumerate(trained.encode(latent).unbind(1)):
        expected = torch.cdist(rest, trained.vectors[level]).argmin(-1)
        assert torch.equal(found, expected)
        rest = rest - trained.vectors[level][expected]


def test_fewer_codebooks_are_the_first_ones_and_decode_to_the_partial_sums(trained):
    latent = clusters(100)
    codes = trained.encode(latent)
    assert torch.equal(trained.encode(latent, 2), codes[:, :2])
    sums = torch.stack([trained.vectors[level][codes[:, level]] for level in range(3)]).cumsum(0)  # [Q, B, T, D]
    for level in range(3):
        torch.testing.assert_close(trained.decode(codes[:, : level + 1]).transpose(1, 2), sums[level])


def test_every_level_leaves_less_over(trained):
    latent = clusters(100)
    codes = trained.encode(latent)
    left = [float((latent - trained.decode(codes[:, :level])).square().mean()) for level in (1, 2, 3)]
    assert latent.square().mean() > 10 * left[0] and left[0] > left[1] > left[2]


def test_the_gradient_passes_straight_through_to_the_latent(trained):
    latent = clusters(100).requires_grad_()
    weights = torch.randn_like(latent)
    (gradient,) = torch.autograd.grad((trained(latent).values * weights).sum(), latent)
    assert torch.equal(gradient, weights)


def test_commitment_pulls_from_every_level(trained):
    """Reference: 2 (latent - sum of the first k vectors), for each k. In the `encodec` package all but the first cancel."""
    latent = clusters(100).requires_grad_()
    found = trained(latent)
    (gradient,) = torch.autograd.grad(found.commitment, latent)
    parts = [2 * (latent - trained.decode(found.codes[:, :level])).detach() / latent.numel() / 3 for level in (1, 2, 3)]
    assert all(part.abs().max() > 0 for part in parts)
    torch.testing.assert_close(gradient, sum(parts))


def test_rows_use_as_many_codebooks_as_they_are_told(trained):
    latent = clusters(100, rows=3)
    found = trained(latent, torch.tensor([1, 2, 3]))
    for row in range(3):
        torch.testing.assert_close(found.values[row], trained.decode(found.codes[row : row + 1, : row + 1])[0])
    one = trained(latent[:1], torch.tensor([1])).commitment
    torch.testing.assert_close(one, (latent[0] - found.values[0]).square().mean())


def test_codebooks_come_to_use_and_lie_where_the_data_does(trained):
    latent = clusters(100, rows=32)
    codes = trained.encode(latent)
    assert [len(codes[:, level].unique()) >= 10 for level in range(3)] == [True] * 3
    left = (latent - trained.decode(codes[:, :1])).square().mean()
    assert left < 0.2 * latent.var()


def test_a_dead_code_comes_back(trained):
    trained.vectors[0, 3] = 1000.0
    rng = generator(1)
    for step in range(300):
        trained.learn(clusters(step), rng=rng)
    assert trained.vectors[0, 3].abs().max() < 20


def test_learning_follows_a_batch_by_the_decay():
    """Reference: two points, two codes, by hand."""
    quantizer = ResidualQuantizer(1, 2, 1, decay=0.9, dead_share=0.0)
    quantizer.vectors.copy_(torch.tensor([[[0.0], [10.0]]]))
    quantizer.counts.copy_(torch.tensor([[2.0, 2.0]]))
    quantizer.updates.fill_(1000)
    quantizer.learn(torch.tensor([[[1.0, 2.0, 8.0]]]), rng=generator(0))
    counts = torch.tensor([[0.9 * 2 + 0.1 * 2, 0.9 * 2 + 0.1 * 1]])
    torch.testing.assert_close(quantizer.counts, counts)
    means = torch.tensor([(1.8 * 0 + 0.1 * 3) / counts[0, 0], (1.8 * 10 + 0.1 * 8) / counts[0, 1]])
    torch.testing.assert_close(quantizer.vectors[0, :, 0], means)


def test_a_batch_that_is_not_finite_teaches_nothing(trained):
    before = trained.vectors.clone()
    latent = clusters(0)
    latent[0, 0, 0] = torch.nan
    trained.learn(latent, rng=generator(0))
    assert torch.equal(trained.vectors, before)


def test_perplexity_counts_codes_by_their_use():
    codes = torch.tensor([[[0, 1, 2, 3], [5, 5, 5, 5], [0, 0, 1, 1]]])
    torch.testing.assert_close(perplexity(codes, 8), torch.tensor([4.0, 1.0, 2.0]))
