"""Spectral distances between waveforms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from speechgen.audio.spectrogram import log_mel
from speechgen.core.types import MelSettings

__all__ = ["NSF_RESOLUTIONS", "log_spectral_loss", "multi_resolution_stft_loss", "multi_scale_mel_loss"]

NSF_RESOLUTIONS = ((512, 320, 80), (128, 80, 40), (2048, 1920, 640))
"""FFT, window and hop in samples at 16 kHz (Wang et al., 2020)."""


def _magnitudes(samples: Tensor, n_fft: int) -> Tensor:
    window = torch.hann_window(n_fft, device=samples.device)
    return torch.stft(samples.float(), n_fft, n_fft // 4, window=window, return_complex=True).abs()


def multi_resolution_stft_loss(fake: Tensor, real: Tensor, n_ffts: Sequence[int] = (2048, 1024, 512, 256, 128)) -> Tensor:
    """Log-magnitude L1 plus spectral convergence (Yamamoto et al., 2020), averaged over window lengths.

    Args:
        fake, real: [B, L] with L > max(n_ffts) / 2.
        n_ffts: window lengths in samples; the hop is a quarter.
    """
    total = fake.new_zeros(())
    for n_fft in n_ffts:
        a, b = _magnitudes(fake, n_fft), _magnitudes(real, n_fft)
        log_distance = ((a + 1e-5).log() - (b + 1e-5).log()).abs().mean()
        convergence = torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b).clamp(min=1e-5)
        total = total + log_distance + convergence
    return total / len(n_ffts)


def multi_scale_mel_loss(fake: Tensor, real: Tensor, rate: int, n_ffts: Sequence[int] = (2048, 1024, 512, 256, 128)) -> Tensor:
    """L1 distance of mels and mean squared distance of their log10, averaged over windows (Défossez et al., 2022, eq. 2).

    Args:
        fake, real: [B, L] with L > max(n_ffts) / 2.
        rate: samples per second.
        n_ffts: window lengths in samples; the hop is a quarter.
    """
    total = fake.new_zeros(())
    for n_fft in n_ffts:
        # Differs from paper, which has 64 bins everywhere: in short windows most of them would be empty.
        bins, level = min(80, n_fft // 16), (3 / 8 * n_fft) ** 0.5  # norm of the window: longer ones are not louder
        settings = MelSettings(sample_rate=rate, n_fft=n_fft, hop_samples=n_fft // 4, num_bins=bins, floor=1e-5 * level)
        a, b = log_mel(fake, settings), log_mel(real, settings)
        total = total + (a.exp() - b.exp()).abs().mean() / level + ((a - b) / math.log(10)).square().mean()
    return total / len(n_ffts)


def log_spectral_loss(
    fake: Tensor, real: Tensor, resolutions: Sequence[tuple[int, int, int]] = NSF_RESOLUTIONS, floor: float = 1e-5
) -> Tensor:
    """Mean squared distance of log power spectra, summed over resolutions (Wang et al., 2020, section III-D).

    It does not know phase, nor the sign of a waveform.

    Args:
        fake, real: [B, L] in [-1, 1].
        resolutions: FFT size, window and hop in samples, each.
        floor: added to the power; it supposes audio of full level.
    """
    total = fake.new_zeros(())
    for resolution in resolutions:
        total = total + (_log_power(fake, resolution, floor) - _log_power(real, resolution, floor)).square().mean()
    return total


def _log_power(samples: Tensor, resolution: tuple[int, int, int], floor: float) -> Tensor:
    n_fft, window_samples, hop_samples = resolution
    window = torch.hann_window(window_samples, device=samples.device)
    spectrum = torch.stft(samples.float(), n_fft, hop_samples, window_samples, window, pad_mode="constant", return_complex=True)
    return (torch.view_as_real(spectrum).square().sum(-1) + floor).log()
