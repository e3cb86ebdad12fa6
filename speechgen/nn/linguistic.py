"""Linguistic features from frame labels and pitch: what a statistical front end tells a vocoder of each frame.

Phone, the one before and the one after (one-hot each), place in the phone, its length, log F0 and voicing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["linguistic_features", "num_linguistic_features"]

_PLACES = 4  # of the frame after the phone's start, before its end, as a share of it; length of the phone
_PITCH = 2  # log F0, voiced
_MIDDLE_HZ = 150.0


def num_linguistic_features(vocabulary_size: int) -> int:
    """How many channels `linguistic_features` fills."""
    return 3 * vocabulary_size + _PLACES + _PITCH


def linguistic_features(labels: Tensor, pitch: Tensor, vocabulary_size: int, num_features: int | None = None) -> Tensor:
    """Describe each frame.

    Args:
        labels: [B, T] phone of each frame, 0 = silence. A phone lasts as long as its label stays; what the crop cuts off
            of the first and last phone is not known.
        pitch: [B, T] fundamental frequency in Hz, 0 = unvoiced.
        vocabulary_size: V, phones are below it.
        num_features: channels F of the result; None: as many as there are. More are zero.

    Returns:
        [B, T, F] float32, each of the order of one.
    """
    num_frames = labels.shape[1]
    place = torch.arange(num_frames, device=labels.device).expand_as(labels)
    changes = F.pad(labels[:, 1:] != labels[:, :-1], (1, 0), value=True)  # [B, T]
    first = torch.where(changes, place, 0).cummax(1).values  # first frame of this phone
    ends = F.pad(changes[:, 1:], (0, 1), value=True)
    last = torch.where(ends, place, num_frames - 1).flip(1).cummin(1).values.flip(1)
    before = torch.where(first > 0, labels.gather(1, (first - 1).clamp(min=0)), 0)
    after = torch.where(last < num_frames - 1, labels.gather(1, (last + 1).clamp(max=num_frames - 1)), 0)
    phones = [F.one_hot(each, vocabulary_size).float() for each in (labels, before, after)]
    length = (last - first + 1).float()
    since, until = (place - first).float(), (last - place).float()
    places = torch.stack([since.log1p() / 2, until.log1p() / 2, since / length, length.log() / 2], -1)
    voiced = pitch > 0
    octaves = torch.where(voiced, (pitch.clamp(min=1) / _MIDDLE_HZ).log2(), torch.zeros_like(pitch))
    features = torch.cat([*phones, places, octaves[..., None], voiced[..., None].float()], -1)  # [B, T, F]
    return features if num_features is None else F.pad(features, (0, num_features - features.shape[-1]))
