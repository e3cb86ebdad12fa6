"""Hinge losses, feature matching and the STFT distance against their formulas."""

from __future__ import annotations

import pytest
import torch

from speechgen.losses.adversarial import (
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
    judged_fake,
    judged_pairs,
)
from speechgen.losses.spectral import NSF_RESOLUTIONS, log_spectral_loss, multi_resolution_stft_loss, multi_scale_mel_loss
from speechgen.nn.discriminators import Judgement


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


def noise(seed: int, level: float = 1.0) -> torch.Tensor:
    return level * torch.randn(2, 9000, generator=torch.Generator().manual_seed(seed))


def test_log_spectral_distance_is_zero_for_equal_signals_symmetric_and_blind_to_the_sign():
    one, two = noise(0, 0.1), noise(1, 0.2)
    assert log_spectral_loss(one, one) == 0
    assert log_spectral_loss(one, two) == log_spectral_loss(two, one) > 0
    torch.testing.assert_close(log_spectral_loss(-one, two), log_spectral_loss(one, two))


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_log_spectral_distance_of_another_level_is_its_closed_form(gain):
    """(2 ln g)^2 in every bin, far above the floor, for each resolution."""
    real = noise(2, 100.0)
    expected = len(NSF_RESOLUTIONS) * (2 * torch.tensor(gain).log()) ** 2
    torch.testing.assert_close(log_spectral_loss(gain * real, real), expected, rtol=1e-3, atol=1e-3)


def test_log_spectral_distance_equals_the_sum_written_out():
    fake, real = noise(3, 0.1), noise(4, 0.1)
    total = 0.0
    for n_fft, size, hop in NSF_RESOLUTIONS:
        window = torch.zeros(n_fft)
        window[(n_fft - size) // 2 : (n_fft - size) // 2 + size] = torch.hann_window(size)
        logs = []
        for x in (fake, real):
            padded = torch.nn.functional.pad(x, (n_fft // 2, n_fft // 2))
            power = torch.fft.rfft(padded.unfold(-1, n_fft, hop) * window).abs().square()
            logs.append((power + 1e-5).log())
        total += float((logs[0] - logs[1]).square().mean())
    assert float(log_spectral_loss(fake, real)) == pytest.approx(total, rel=1e-4)


def test_log_spectral_distance_has_finite_gradients_for_silence():
    fake = torch.zeros(1, 4000, requires_grad=True)
    log_spectral_loss(fake, noise(5)[:1, :4000]).backward()
    assert fake.grad.isfinite().all()


def test_judged_halves_are_the_real_and_the_fake():
    scores, features = torch.tensor([2.0, 2.0, -2.0, -2.0]), torch.tensor([0.0, 0.0, 1.0, 1.0])
    both = Judgement(scores[:, None].expand(4, 5), [features[:, None].expand(4, 3)])
    assert judged_pairs([both, both]) == 0
    fooled, matching = judged_fake([both, both])
    assert fooled == 3 and matching == 1


def test_mel_loss_is_nought_for_equals_and_knows_the_level_alike_in_every_window():
    torch.manual_seed(0)
    real = 0.1 * torch.randn(2, 8192)
    assert multi_scale_mel_loss(real, real, 24000) == 0
    losses = [float(multi_scale_mel_loss(0.1 * real, real, 24000, (n_fft,))) for n_fft in (2048, 512, 128)]
    assert all(1.0 < loss < 2.5 for loss in losses)  # a power of ten: 1, and what the linear part adds
