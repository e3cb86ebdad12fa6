"""E2 TTS network: a transformer with U-Net skips that predicts the velocity of a mel (paper, section 2 and figure 1).

Input of every position: noisy mel, visible mel (zeros where it is to be generated) and the token's embedding, concatenated.
The flow time is a position of its own in front. If `modulated`, it also modulates every block, with the voice that is
visible. The process that integrates the velocity is sampling/flow_matching.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.models.acoustic.e2_tts.config import E2Config
from speechgen.nn.embeddings import TimeEmbedding
from speechgen.nn.masks import valid_mask
from speechgen.nn.pooling import ReferenceEncoder
from speechgen.nn.positions import ConvolutionalPosition, rotary_angles
from speechgen.nn.transformer import TransformerBlock, through_u


class E2TTS(nn.Module):
    """Velocity field over normalised mel patches."""

    def __init__(self, config: E2Config) -> None:
        super().__init__()
        self.config = config
        patch = config.patch_frames * config.mel.num_bins
        # The last row is the filler: an unknown token, and the whole condition when guidance drops it.
        self.token_embedding = nn.Embedding(config.num_tokens + 1, config.token_width)
        self.project = nn.Linear(2 * patch + config.token_width, config.width)
        self.position = ConvolutionalPosition(config.width)
        self.time = TimeEmbedding(config.width)
        self.voice = ReferenceEncoder(patch, config.width) if config.modulated else None
        # A glimpse of a few patches would otherwise give a vector many times longer than any other.
        self.voice_norm = nn.RMSNorm(config.width) if config.modulated else None
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, config.num_heads, config.ff_multiple, config.dropout, modulated=config.modulated)
            for _ in range(config.depth)
        )
        self.merges = nn.ModuleList(nn.Linear(2 * config.width, config.width, bias=False) for _ in range(config.depth // 2))
        self.norm = nn.RMSNorm(config.width)
        self.out = nn.Linear(config.width, patch)
        self.direct = nn.Linear(config.width, patch) if config.direct else None
        for last in filter(None, (self.out, self.direct)):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def filler(self) -> int:
        """Token id that says nothing."""
        return self.config.num_tokens

    def hear(self, visible: Tensor, lengths: Tensor) -> Tensor | None:
        """Summarise the voice in `visible` [B, N, P] as [B, D]; None if the network is not modulated. The same at every t."""
        if self.voice is None or self.voice_norm is None:
            return None
        shown = visible.ne(0).any(-1) & valid_mask(lengths, visible.shape[1])
        vector: Tensor = self.voice_norm(self.voice(visible, shown))
        return vector

    def forward(
        self, noisy: Tensor, visible: Tensor, tokens: Tensor, t: Tensor, lengths: Tensor, voice: Tensor | None = None
    ) -> Tensor:
        """Predict data - noise.

        Args:
            noisy: [B, N, P] patches at flow time t (P = patch_frames * M), normalised.
            visible: [B, N, P] the known mel, zeros where it is to be generated.
            tokens: [B, N] ids in [0, num_tokens], one per patch; num_tokens = filler.
            t: [B] in [0, 1].
            lengths: [B] real patches.
            voice: what `hear` returns, if it is known already.

        Returns:
            [B, N, P]; values at padded positions are unspecified.
        """
        valid = valid_mask(lengths, noisy.shape[1])
        x = self.project(torch.cat((noisy, visible, self.token_embedding(tokens)), dim=-1))  # [B, N, D]
        x = x + self.position(x, valid)
        time = self.time(t).to(x.dtype)  # [B, D]
        voice = self.hear(visible, lengths) if voice is None else voice
        condition = None if voice is None else F.silu(time + voice)  # [B, D]
        x = torch.cat((time[:, None], x), dim=1)  # [B, 1 + N, D]
        valid = F.pad(valid, (1, 0), value=True)
        angles = rotary_angles(x.shape[1], self.config.width // self.config.num_heads, x.device)
        x = through_u(self.blocks, self.merges, x, valid, angles, condition)
        made: Tensor = self.out(self.norm(x[:, 1:]))
        if self.direct is not None:
            made = made + self.direct(F.silu(time))[:, None] * noisy
        return made

    def patches(self, mel: Tensor) -> Tensor:
        """Normalise mel [B, T, M] and fold it to [B, ceil(T / patch_frames), P]; the last patch repeats the last frame."""
        size = self.config.patch_frames
        missing = -mel.shape[1] % size
        mel = torch.cat((mel, mel[:, -1:].expand(-1, missing, -1)), dim=1)
        return ((mel - self.config.mel_mean) / self.config.mel_scale).unflatten(1, (-1, size)).flatten(2)

    def frames(self, patches: Tensor) -> Tensor:
        """Undo `patches`: [B, N, P] to [B, N * patch_frames, M]."""
        mel = patches.unflatten(2, (self.config.patch_frames, -1)).flatten(1, 2)
        return mel * self.config.mel_scale + self.config.mel_mean
