"""DiffWave with SaShiMi's backbone: (noisy audio, noise level, maybe mel) -> the noise in it (Goel et al., 2022, section 5.3).

The backbone looks from both sides. Each state-space block is told the noise level, as DiffWave's layers are (Kong et al.,
2021, section 3.1), and, for a vocoder, the mel's frames at its own rate.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.nn.embeddings import TimeEmbedding
from speechgen.nn.multiscale import Backbone, Sizes

__all__ = ["NoisePredictor"]


class NoisePredictor(nn.Module):
    """The network.

    Args:
        sizes: of the backbone, bidirectional.
        level_width: of the embedding of the noise level.
        mel_bins: M of the mel that tells what to make; 0: none.
        hop_samples: samples of a frame.
    """

    def __init__(self, sizes: Sizes, level_width: int, mel_bins: int = 0, hop_samples: int = 0) -> None:
        super().__init__()
        self.hop_samples = hop_samples
        self.input = nn.Linear(1, sizes.width)
        self.level = TimeEmbedding(level_width)
        self.backbone = Backbone(sizes)
        widths = [block.norm.weight.numel() for block in self.backbone.blocks()]
        self.level_shifts = nn.ModuleList(nn.Linear(level_width, width) for width in widths)
        self.mel_shifts = nn.ModuleList(nn.Linear(mel_bins, width) for width in widths if mel_bins)
        self.inner = nn.Linear(sizes.width, sizes.width)
        self.output = nn.Linear(sizes.width, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self._stride = {sizes.width * sizes.expand**n: stride for n, stride in enumerate(sizes.strides)}

    def forward(self, noisy: Tensor, level: Tensor, mel: Tensor | None = None) -> Tensor:
        """Map noisy [B, L] and levels [B] in (0, 1] to the noise [B, L]; mel [B, T, M] with T hop >= L, if there is one."""
        embedded = F.silu(self.level(level))
        shifts = [shift(embedded)[:, None] for shift in self.level_shifts]  # each [B, 1, H]
        if mel is not None:
            longest = noisy.shape[1] + -noisy.shape[1] % max(self._stride.values())
            for place, project in enumerate(self.mel_shifts):
                told = project(mel)  # [B, T, H]
                stride = self._stride[told.shape[-1]]
                frames = told.repeat_interleave(self.hop_samples // stride, 1)
                short = max(0, longest // stride - frames.shape[1])
                shifts[place] = shifts[place] + F.pad(frames, (0, 0, 0, short))[:, : longest // stride]
        x = F.relu(self.input(noisy[..., None]))
        noise: Tensor = self.output(F.relu(self.inner(self.backbone(x, shifts))))[..., 0]
        return noise
