"""Hinge losses, feature matching and the STFT distance against their formulas."""

from __future__ import annotations

import pytest
import torch

from speechgen.losses.adversarial import discriminator_loss, feature_matching_loss, generator_loss
from speechgen.losses.spectral import multi_resolution_stft_loss


def test_a_judge_who_is_sure_and_right_has_no_loss():
    assert discriminator_loss([torch.full((2, 3), 1.5)], [torch.full((2, 3), -1.0)]) == 0
    assert discriminator_loss([torch.tensor([0.0])], [torch.tensor([0.0])]) == 2


def test_losses_are_means_over_judges_of_unequal_size():
    assert discriminator_loss([torch.zeros(1), torch.ones(9)], [torch.zeros(1), -torch.ones(9)]) == 1
    assert generator_loss([torch.tensor([0.0]), torch.ones(9)]) == 0.5


def test_feature_matching_moves_the_fake_only():
    real, fake = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    loss = feature_matching_loss([[real]], [[fake]])
    loss.backward()
    assert loss == (fake - real).abs().mean()
    assert real.grad is None and fake.grad.abs().sum() > 0


def test_feature_matching_refuses_judges_that_do_not_pair_up():
    with pytest.raises(ValueError, match="argument 2"):
        feature_matching_loss([[torch.zeros(1)]], [[torch.zeros(1), torch.zeros(1)]])


def test_stft_distance_is_zero_for_equal_signals_and_grows_with_noise():
    real = torch.sin(torch.arange(4000) * 0.1)[None]
    noise = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    distances = [multi_resolution_stft_loss(real + level * noise, real) for level in (0.0, 0.01, 0.1)]
    assert distances[0] == 0 and distances[0] < distances[1] < distances[2]


def test_stft_distance_of_half_the_amplitude_is_its_closed_form():
    """Log distance ln 2 where the signal is far above the floor, spectral convergence 1 / 2."""
    real = 1e4 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    expected = torch.tensor(2.0).log() + 0.5
    torch.testing.assert_close(multi_resolution_stft_loss(real / 2, real), expected, rtol=1e-3, atol=1e-3)


def test_stft_distance_has_finite_gradients_for_silence():
    fake = torch.zeros(1, 4000, requires_grad=True)
    multi_resolution_stft_loss(fake, torch.zeros(1, 4000)).backward()
    assert fake.grad.isfinite().all()
