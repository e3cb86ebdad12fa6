"""Spectral distances between waveforms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["multi_resolution_stft_loss"]


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
