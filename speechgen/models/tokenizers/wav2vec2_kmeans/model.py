"""Encoders with a phoneme head and k-means centroids.

`MelEncoder` is the bundled conformer; `PretrainedEncoder` wraps a network of `transformers`. Both map audio features to hidden
states of a chosen layer; `Tokens` of a frame is the nearest centroid of its normalised hidden state.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speechgen.models.tokenizers.wav2vec2_kmeans.config import TokenizerConfig
from speechgen.nn.conformer import Conformer
from speechgen.nn.masks import valid_mask
from speechgen.text.vocabulary import ENGLISH


def spoken_phones(ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the phones of [B, S] and close the gaps: stress marks, spaces and punctuation have no sound of their own."""
    phones = torch.tensor(sorted(ENGLISH.phone_ids), device=ids.device)
    keep = valid_mask(lengths, ids.shape[1]) & torch.isin(ids, phones)
    order = torch.argsort((~keep).int(), dim=1, stable=True)
    counts = keep.sum(1)
    return (ids * keep).gather(1, order)[:, : max(1, int(counts.max()))], counts


class Centroids(nn.Module):
    """Nearest-centroid quantiser of normalised features, fitted after training (training/fit_kmeans)."""

    centers: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, clusters: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.zeros(clusters, width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def normalize(self, features: Tensor) -> Tensor:
        """Shift and scale each dimension of [..., D] to the statistics the centroids were fitted on."""
        return (features - self.mean) / self.scale

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, T, D] to ids [B, T]."""
        distances = torch.cdist(self.normalize(features.float()), self.centers.expand(len(features), -1, -1))
        return distances.argmin(-1)


class MelEncoder(nn.Module):
    """Conformer over pairs of mel frames, with a linear phoneme head."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.layer = config.layer
        self.project = nn.Linear(2 * config.mel.num_bins, config.width)
        self.conformer = Conformer(
            config.width, config.depth, config.num_heads, config.ff_multiple, config.kernel, config.dropout
        )
        self.head = nn.Linear(config.width, config.vocabulary_size)
        self.centroids = Centroids(config.clusters, config.width)

    def forward(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Phoneme logits.

        Args:
            mel: [B, T, M].
            lengths: [B] real frames.

        Returns:
            logits [B, T', V] with T' = ceil(T / 2), and their lengths [B].
        """
        x, valid = self._embed(mel, lengths)
        return self.head(self.conformer(x, valid)), (lengths + 1) // 2

    def features(self, mel: Tensor, lengths: Tensor, layer: int | None = None) -> Tensor:
        """Hidden states [B, T', D] after `layer` blocks (the configured layer by default)."""
        x, valid = self._embed(mel, lengths)
        hidden: Tensor = self.conformer(x, valid, depth=layer or self.layer)
        return hidden

    def _embed(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise every bin over the utterance, which removes channel and much of the speaker; pair up frames."""
        mask = valid_mask(lengths, mel.shape[1])[..., None].to(mel.dtype)
        count = mask.sum(1, keepdim=True).clamp(min=1)
        mean = (mel * mask).sum(1, keepdim=True) / count
        variance = ((mel - mean).square() * mask).sum(1, keepdim=True) / count
        x = (mel - mean) / (variance + 1e-2).sqrt() * mask
        x = F.pad(x, (0, 0, 0, mel.shape[1] % 2)).unflatten(1, (-1, 2)).flatten(2)  # [B, T', 2 M]
        return self.project(x), valid_mask((lengths + 1) // 2, x.shape[1])


class PretrainedEncoder(nn.Module):
    """A wav2vec 2.0, HuBERT or WavLM network of `transformers`, built from its configuration without any download."""

    def __init__(self, config: TokenizerConfig) -> None:
        from transformers import AutoConfig, AutoModel

        super().__init__()
        self.layer = config.layer
        settings: dict[str, Any] = dict(config.pretrained or {})
        encoder_config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.encoder = AutoModel.from_config(encoder_config)
        self.convolutions = tuple(zip(encoder_config.conv_kernel, encoder_config.conv_stride, strict=True))
        self.stride = math.prod(encoder_config.conv_stride)
        self.centroids = Centroids(config.clusters, encoder_config.hidden_size)

    def features(self, samples: Tensor, lengths: Tensor, layer: int | None = None) -> Tensor:
        """Hidden states [B, T', D] of 16 kHz audio [B, L], normalised to zero mean and unit variance as in pretraining."""
        # Row by row: the group norm of the base models runs over time and would see the padding.
        rows = []
        for row, size in zip(samples, lengths.tolist(), strict=True):
            x = row[None, :size]
            x = (x - x.mean()) / (x.var(correction=0) + 1e-7).sqrt()
            rows.append(self.encoder(x, output_hidden_states=True).hidden_states[layer or self.layer][0])
        return pad_sequence(rows, batch_first=True)

    def hidden_lengths(self, lengths: Tensor) -> Tensor:
        """How many hidden states samples of `lengths [B]` give."""
        for kernel, stride in self.convolutions:
            lengths = (lengths - kernel) // stride + 1
        return lengths


def build(config: TokenizerConfig) -> MelEncoder | PretrainedEncoder:
    """Return the encoder that `config` describes."""
    return PretrainedEncoder(config) if config.pretrained else MelEncoder(config)
