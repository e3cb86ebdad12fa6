"""Mel -> ConvNeXt backbone -> complex spectrum -> waveform (Siuzdak, Vocos, 2023, sections 3.1 and 3.2).

Parameter names are the published ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from speechgen.nn.convnext import ConvNeXtBlock

__all__ = ["Backbone", "SpectrumHead"]


class Backbone(nn.Module):
    """Convolution of width 7, ConvNeXt blocks at the mel's frame rate, LayerNorm."""

    def __init__(self, num_bins: int, width: int, hidden_width: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(num_bins, width, 7, padding=3)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.convnext = nn.ModuleList(ConvNeXtBlock(width, hidden_width, layer_scale=1 / depth) for _ in range(depth))
        self.final_layer_norm = nn.LayerNorm(width, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, mel: Tensor) -> Tensor:
        """Map mel [B, T, M] to [B, T, D]."""
        x = self.embed(mel.transpose(1, 2))  # [B, D, T]
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        hidden: Tensor = self.final_layer_norm(x.transpose(1, 2))
        return hidden


class SpectrumHead(nn.Module):
    """Predict log-magnitude and phase of each STFT bin, then invert the STFT."""

    def __init__(self, width: int, n_fft: int, hop_samples: int) -> None:
        super().__init__()
        self.n_fft, self.hop_samples = n_fft, hop_samples
        self.out = nn.Linear(width, n_fft + 2)
        nn.init.trunc_normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [B, T, D] to samples [B, (T - 1) * hop]."""
        log_magnitude, phase = self.out(hidden).float().transpose(1, 2).chunk(2, dim=1)  # each [B, F, T]
        # Capped at 100 before the exponential: an infinity would have no gradient.
        magnitude = log_magnitude.clamp(max=math.log(1e2)).exp()
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        window = torch.hann_window(self.n_fft, device=hidden.device)
        return torch.istft(spectrum, self.n_fft, self.hop_samples, window=window, center=True)
