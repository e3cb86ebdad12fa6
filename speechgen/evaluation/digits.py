"""A classifier of spoken digits, trained on real clips in a minute or two, to tell whether generated ones are understood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.audio.spectrogram import log_mel
from speechgen.core.protocols import Progress
from speechgen.core.types import MelSettings

__all__ = ["DigitClassifier", "Recognised", "accuracy", "recognise", "train_classifier"]

SECONDS = 1.0
"""Clips are cut or filled up to this."""
CONFIDENT = 0.8
EPOCHS, BATCH = 10, 64


class DigitClassifier(nn.Module):
    """Three convolutions over a small mel, ten classes."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        hop = rate // 80
        size = 2 ** (2 * hop - 1).bit_length()
        self.mel = MelSettings(sample_rate=rate, n_fft=size, hop_samples=hop, num_bins=40)
        channels = (1, 16, 32, 64)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))
            for before, after in zip(channels, channels[1:], strict=False)
        )
        self.head = nn.Linear(2 * channels[-1], 10)

    def forward(self, mel: Tensor) -> Tensor:
        """Map mels [B, T, 40] to logits [B, 10]."""
        x = (mel[:, None] + 6) / 3
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(torch.cat((x.mean((2, 3)), x.amax((2, 3))), 1))
        return logits

    def features(self, clips: Sequence[Tensor]) -> Tensor:
        """Mels [B, T, 40] of clips [L] of the classifier's rate."""
        length = round(SECONDS * self.mel.sample_rate)
        filled = torch.stack([F.pad(clip[:length], (0, length - min(length, len(clip)))) for clip in clips])
        return log_mel(filled, self.mel)


@dataclass(frozen=True)
class Recognised:
    """What the classifier says of clips.

    Attributes:
        confident: share of the clips with a class of probability above 0.8.
        counts: how many of these fall to each digit.
    """

    confident: float
    counts: tuple[int, ...]


def train_classifier(
    clips: Sequence[Tensor], digits: Sequence[int], rate: int, *, seed: int = 0, progress: Progress | None = None
) -> DigitClassifier:
    """Train on clips [L] of one rate. Each epoch moves them in time and changes their level."""
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DigitClassifier(rate)
    mels, classes = network.features(clips), torch.tensor(digits)
    steps = EPOCHS * -(-len(mels) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    done = 0
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(mels), generator=rng).split(BATCH):
            moved = int(torch.randint(-8, 9, (1,), generator=rng))
            louder = torch.randn(len(chosen), 1, 1, generator=rng)
            loss = F.cross_entropy(network(mels[chosen].roll(moved, 1) + 0.5 * louder), classes[chosen])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            done += 1
            if progress is not None:
                progress(done, steps)
    return network.eval()


@torch.inference_mode()
def accuracy(network: DigitClassifier, clips: Sequence[Tensor], digits: Sequence[int]) -> float:
    """Share of clips [L] whose digit is recognised."""
    found = network(network.features(clips)).argmax(1)
    return float((found == torch.tensor(digits)).float().mean())


@torch.inference_mode()
def recognise(network: DigitClassifier, clips: Sequence[Tensor]) -> Recognised:
    """Classify clips [L]."""
    best = network(network.features(clips)).softmax(1).max(1)
    sure = best.values > CONFIDENT
    counts = torch.bincount(best.indices[sure], minlength=10)
    return Recognised(float(sure.float().mean()), tuple(counts.tolist()))
