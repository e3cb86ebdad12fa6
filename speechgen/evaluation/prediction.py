"""A yardstick for likelihoods: adaptive linear prediction, what a sound's own past tells without any training.

Each sample is predicted from the 16 before it by recursive least squares; its distribution is a mixture of logistics about
the prediction, some narrower and some wider than recent errors and weighed by how well each has done, and the quantiser's
steps cut it into the probabilities of levels. Nothing but the past of the same recording is used: the bits are those of a code.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from speechgen.audio.quantize import LEVELS, Quantizer, dequantize, read_levels
from speechgen.core.types import Waveform

__all__ = ["prediction_bits"]

ORDER = 16
FORGET = 0.998
"""What a past error weighs after each sample, for the prediction."""
FORGET_SCALE = 0.97
"""The same for its expected size."""
FORGET_WEIGHT = 0.98
"""And for the weights of the mixture."""
WIDTHS = (0.3, 0.7, 1.5, 4.0)
"""Of the logistics, in expected errors."""
UNIFORM = 1e-3
"""Share of a uniform distribution, so that nothing is impossible."""


def prediction_bits(audio: Waveform, rate: int, quantizer: Quantizer) -> NDArray[np.float64]:
    """Return the bits per sample of each row of audio of any rate, [B]."""
    levels, lengths = read_levels(audio, rate, quantizer)
    values = dequantize(levels, quantizer).double().numpy()
    edges = _edges(quantizer)
    rows, steps = values.shape
    past, weights = np.zeros((rows, ORDER)), np.zeros((rows, ORDER))
    inverse = np.repeat(1e3 * np.eye(ORDER)[None], rows, 0)
    scale, mixture = np.full(rows, 0.02), np.full((rows, len(WIDTHS)), 1 / len(WIDTHS))
    total = np.zeros(rows)
    for t in range(steps):
        predicted = (weights * past).sum(1)
        shares = _shares(predicted, scale, edges, levels[:, t].numpy())
        total -= np.where(t < lengths.numpy(), np.log2((mixture * shares).sum(1)), 0)
        mixture = mixture**FORGET_WEIGHT * shares
        mixture /= mixture.sum(1, keepdims=True)
        error = values[:, t] - predicted
        turned = np.einsum("bij,bj->bi", inverse, past)
        gain = turned / (FORGET + (past * turned).sum(1))[:, None]
        weights += gain * error[:, None]
        inverse = (inverse - gain[:, :, None] * turned[:, None]) / FORGET
        inverse = (inverse + inverse.transpose(0, 2, 1)) / 2  # rounding alone would drive it apart, where a sound is pure
        # Without signal the matrix would grow without bounds.
        inverse /= np.maximum(1, np.trace(inverse, axis1=1, axis2=2) / (1e4 * ORDER))[:, None, None]
        scale = np.maximum(FORGET_SCALE * scale + (1 - FORGET_SCALE) * np.abs(error), 1e-5)
        past = np.concatenate((values[:, t : t + 1], past[:, :-1]), 1)
    return total / lengths.numpy()


def _edges(quantizer: Quantizer) -> NDArray[np.float64]:
    """Between which samples each level lies, [257]; the outermost reach to infinity."""
    between = dequantize(torch.arange(LEVELS - 1, dtype=torch.float64) + 0.5, quantizer).double().numpy()
    return np.concatenate(([-np.inf], between, [np.inf]))


def _shares(
    predicted: NDArray[np.float64], scale: NDArray[np.float64], edges: NDArray[np.float64], drawn: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Probability of the drawn levels under each logistic, [B, K]."""
    low, high = (edges[drawn + side] - predicted for side in (0, 1))
    widths = 2 * np.array(WIDTHS) * scale[:, None]
    found: NDArray[np.float64] = (np.tanh(high[:, None] / widths) - np.tanh(low[:, None] / widths)) / 2
    return (1 - UNIFORM) * found + UNIFORM / LEVELS
