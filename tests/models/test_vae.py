"""The autoencoder: causal both ways, channels normalised by what it has seen, lengths that are not whole latents."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.core.random import generator
from speechgen.core.types import Latents, Mel
from speechgen.models.autoencoders.vae.config import VAEConfig, VAEObjectiveConfig
from speechgen.models.autoencoders.vae.generate import VAEGenerator
from speechgen.models.autoencoders.vae.model import Posterior
from speechgen.models.autoencoders.vae.objective import VAEObjective, _divergence
from tests.models.systems import MEL, batch, build, mel


def autoencoder() -> VAEGenerator:
    return VAEGenerator(build("vae").network.eval(), VAEConfig.tiny())


def test_decoding_part_by_part_is_decoding_the_whole():
    """Each part with as many latents before it as a frame can reach, no more."""
    model = autoencoder()
    values = torch.randn(1, 23, model.width, generator=generator(0))
    whole = model.network.decode(values)
    parts = []
    for start in range(0, 23, 3):
        low = max(0, start - model.reach)
        parts.append(model.network.decode(values[:, low : start + 3])[:, (start - low) * model.frames :])
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_a_frame_depends_on_as_many_latents_as_it_says_and_on_none_behind_it():
    model = autoencoder()
    values = torch.randn(1, 2 * model.reach, model.width, generator=generator(0)).requires_grad_()
    model.network.decode(values)[0, model.reach * model.frames].sum().backward()
    seen = values.grad.abs().sum(-1)[0] > 0
    assert seen[: model.reach + 1].all() and not seen[model.reach + 1 :].any()


def test_a_latent_is_of_its_frames_and_those_before_them():
    model = autoencoder()
    frames = torch.randn(1, 24, 100, generator=generator(0))
    changed = frames.clone()
    changed[:, 12] += 1
    one, other = (model.network.encode(each) for each in (frames, changed))
    assert torch.equal(one[:, :3], other[:, :3]) and not torch.equal(one[:, 3], other[:, 3])


def test_rows_of_any_length_fill_their_last_latent_with_their_last_frame():
    model, rows = autoencoder(), mel(13, 6)
    made = model.encode(rows)
    assert made.lengths.tolist() == [4, 2] and made.rate == pytest.approx(MEL.frame_rate / 4)
    for row, length in enumerate((13, 6)):
        frames = rows.values[row : row + 1, :length]
        filled = torch.cat((frames, frames[:, -1:].expand(-1, -length % 4, -1)), dim=1)
        alone = model.encode(Mel(filled, torch.tensor([filled.shape[1]]), MEL))
        torch.testing.assert_close(made.values[row : row + 1, : alone.values.shape[1]], alone.values, rtol=1e-4, atol=1e-5)
    decoded = model.decode(made)
    assert decoded.lengths.tolist() == [16, 8] and decoded.settings == MEL


def test_channels_are_normalised_by_what_was_seen_in_training():
    system = build("vae")
    objective = VAEObjective(system.network, system.config, VAEObjectiveConfig.tiny())
    rows = batch(("mel",))
    for step in range(400):
        list(objective.updates(rows, step, generator(step)))
    valid = torch.cat([system.network.encode(rows["mel"][row : row + 1, :size])[0] for row, size in enumerate((24, 16))])
    torch.testing.assert_close(valid.mean(0), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(valid.square().mean(0), torch.ones(4), atol=0.1, rtol=0)


def test_normalising_is_undone_by_decoding():
    network = build("vae").network.eval()
    frames = mel(12).values
    torch.testing.assert_close(network.decode(network.encode(frames)), network.expand(network.posterior(frames).mean))


def test_the_divergence_is_that_of_gaussians():
    """KL of N(1, 4) from N(0, 1) is (1 + 4 - 1 - ln 4) / 2; padding does not count."""
    posterior = Posterior(torch.ones(1, 3, 2), torch.full((1, 3, 2), math.log(4.0)))
    posterior.mean[:, 2] = 100
    valid = torch.tensor([[True, True, False]])
    assert float(_divergence(posterior, valid)) == pytest.approx((4 - math.log(4)) / 2)


def test_latents_that_are_drawn_are_as_far_from_the_mean_as_the_posterior_says():
    network = build("vae").network
    frames = mel(8).values
    posterior = network.posterior(frames)
    draws = torch.stack((torch.ones_like(posterior.mean), torch.ones_like(posterior.mean)))
    _, decoded = network(frames, draws, 0.5)
    moved = posterior.mean + (posterior.log_variance / 2).exp() + 0.5 * posterior.mean.std((0, 1), correction=0)
    torch.testing.assert_close(decoded, network.expand(moved))


def test_latents_of_nothing_decode_to_nothing():
    model = autoencoder()
    made = model.decode(Latents(torch.zeros(1, 0, model.width), torch.zeros(1, dtype=torch.long), model.rate))
    assert made.values.shape == (1, 0, MEL.num_bins)
