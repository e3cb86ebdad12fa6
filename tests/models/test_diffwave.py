"""DiffWave with SaShiMi's backbone: sees both sides, learns noise, continues a beginning."""

from __future__ import annotations

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.core.types import Waveform
from speechgen.models.waveform.diffwave import SPEC
from speechgen.models.waveform.diffwave.config import DiffWaveConfig, DiffWaveOptions
from speechgen.models.waveform.diffwave.generate import training_levels
from speechgen.models.waveform.diffwave.model import DiffWave
from speechgen.nn.diffwave import NoisePredictor
from speechgen.sampling.diffusion import noise_levels, thinned_betas


def tiny() -> DiffWave:
    torch.manual_seed(0)
    network = DiffWave(DiffWaveConfig.tiny()).eval()
    with torch.no_grad():
        network.predictor.output.weight.normal_()
    return network


def test_the_paper_s_sizes():
    """23.0 M and 7.5 M parameters with kernels of their own for both sides."""
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in DiffWave(DiffWaveConfig(width=width)).parameters()) / 1e6 for width in (128, 64)]
    assert 18 < sizes[0] < 28 and 4 < sizes[1] < 9


def test_the_noise_depends_on_both_sides_and_on_the_level():
    network, noisy = tiny(), torch.randn(1, 50)
    changed = noisy.clone()
    changed[0, 25] += 1
    level = torch.tensor([0.7])
    with torch.inference_mode():
        difference = (network(changed, level) - network(noisy, level)).abs()[0]
        assert difference[:25].max() > 1e-4 and difference[26:].max() > 1e-4
        assert (network(noisy, torch.tensor([0.9])) - network(noisy, level)).abs().max() > 1e-4


def test_a_mel_is_heard_at_every_rate():
    torch.manual_seed(0)
    network = NoisePredictor(DiffWaveConfig.tiny().sizes, 16, mel_bins=5, hop_samples=16).eval()
    noisy, level, mel = torch.randn(1, 60), torch.tensor([0.7]), torch.randn(1, 4, 5)
    with torch.no_grad():
        network.output.weight.normal_()
        plain = network(noisy, level, mel)
        for project in network.mel_shifts:
            kept = project.weight.clone()
            project.weight += 1
            assert (network(noisy, level, mel) - plain).abs().max() > 1e-4
            project.weight.copy_(kept)


@pytest.mark.parametrize("steps", [1, 7, 200])
def test_thinned_schedules_go_through_levels_that_were_learnt(steps):
    config = DiffWaveConfig.tiny()
    learnt = training_levels(config)
    found = noise_levels(thinned_betas(learnt, steps))
    assert len(found) == steps + 1
    torch.testing.assert_close(found[[0, -1]], learnt[[0, -1]])
    assert ((found[:, None] - learnt[None]).abs().amin(1) < 1e-12).all()
    with pytest.raises(UserError, match="has learnt 200"):
        thinned_betas(learnt, 201)


def test_a_perfect_network_finds_the_signal_and_a_beginning_is_put_back():
    """A network that knows the data: noise = (noisy - level * data) / sqrt(1 - level^2)."""
    config = DiffWaveConfig.tiny()
    data = torch.sin(torch.arange(80) / 5)
    network = tiny()
    seen = []

    def knows(noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        seen.append((noisy[:, :30].clone(), level[0].item()))
        return (noisy - level[:, None] * data) / (1 - level[:, None] ** 2).sqrt()

    network.forward = knows  # type: ignore[method-assign]
    prime = Waveform.single(config.scale * data[:30], config.sample_rate)
    model = SPEC.generator(network, config)
    made = model.generate(2, 50, prime, options=DiffWaveOptions(steps=5), rng=generator(0))
    torch.testing.assert_close(made.samples, (config.scale * data[30:]).expand(2, -1), rtol=1e-3, atol=1e-4)
    for beginning, level in seen:
        rest = (beginning - level * data[:30]) / (1 - level**2) ** 0.5
        assert rest.std() == pytest.approx(1, abs=0.35)
