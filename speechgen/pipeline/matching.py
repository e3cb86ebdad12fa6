"""The last step towards a voice: what the models make in it, moved to what its recording is.

Small models leave a little of every voice out: its room, its microphone, the weight of its formants. How much is heard when
they say SENTENCES in the voice: their frames should have the mean and the covariance of the recording's. The map between the
two is the optimal transport between Gaussians (Peyré and Cuturi, 2019, "Computational Optimal Transport", remark 2.31),
fitted once for a voice and applied frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from speechgen.core.types import Mel

__all__ = ["LEAST_FRAMES", "RECORDED_SECONDS", "SENTENCES", "VoiceMatch", "fit_match"]

SENTENCES = (
    "The morning light fell softly over the old stone bridge, and nobody spoke.",
    "We should have bought fresh bread, cheese, and a few good oranges for the journey.",
    "Why would they choose such a strange house, with its huge garden and noisy neighbours?",
)
"""Most sounds of English, about as often as it has them."""
RECORDED_SECONDS = 12.0
"""How much of a recording is compared with what the models say in its voice."""
LEAST_FRAMES = 90
"""About a second: fewer frames say too little of a voice."""
QUIET_SHARE = 0.4
"""Share of the frames that is left out, the quietest: pauses are alike in all voices."""
SHRINKAGE = 0.6
"""Share of the covariances between bins that is disbelieved: some seconds do not tell them exactly."""
FLOOR = 0.02
"""Least variance of a log-mel bin."""


@dataclass(frozen=True)
class VoiceMatch:
    """An affine map of log-mel frames: `wanted + (frame - heard) turn`.

    Attributes:
        heard: [M] mean frame of what the model makes of the voice.
        wanted: [M] mean frame of the voice.
        turn: [M, M].
    """

    heard: Tensor
    wanted: Tensor
    turn: Tensor

    def __call__(self, mel: Mel) -> Mel:
        """Move every frame."""
        return replace(mel, values=(mel.values - self.heard) @ self.turn + self.wanted)

    def to(self, device: torch.device | str) -> VoiceMatch:
        """Return the same map on `device`."""
        return VoiceMatch(self.heard.to(device), self.wanted.to(device), self.turn.to(device))


def fit_match(made: Tensor, recorded: Tensor, strength: float) -> VoiceMatch | None:
    """Return the map from the frames that models make of a voice to those of its recording; None if there are too few.

    Args:
        made: [T, M], log-mel frames of any text.
        recorded: [U, M], of any other.
        strength: in [0, 1], how far to go; 0 is the identity.
    """
    if min(len(made), len(recorded)) < LEAST_FRAMES:
        return None
    (heard, spread), (wanted, aim) = (_statistics(frames.double()) for frames in (made, recorded))
    turn = torch.lerp(torch.eye(len(heard), dtype=heard.dtype, device=heard.device), _transport(spread, aim), strength)
    return VoiceMatch(heard.float(), torch.lerp(heard, wanted, strength).float(), turn.float())


def _statistics(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [M] and covariance [M, M] of the louder of frames [T, M]."""
    level = frames.mean(1)
    loud = frames[level >= level.quantile(QUIET_SHARE)]
    covariance = torch.cov(loud.T)
    diagonal = covariance.diag().diag()
    identity = torch.eye(len(covariance), dtype=frames.dtype, device=frames.device)
    return loud.mean(0), torch.lerp(covariance, diagonal, SHRINKAGE) + FLOOR * identity


def _transport(source: Tensor, target: Tensor) -> Tensor:
    """Return the symmetric T [M, M] with T source T = target: S^-1/2 (S^1/2 target S^1/2)^1/2 S^-1/2."""
    root = _root(source)
    inverse = torch.linalg.inv(root)
    return inverse @ _root(root @ target @ root) @ inverse


def _root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a positive definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T
