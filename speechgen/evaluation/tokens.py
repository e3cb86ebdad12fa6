"""What discrete speech tokens know: phones (they should) and speakers (they should not).

Purities and PNMI follow HuBERT (Hsu et al., 2021, section IV-C); leakage is a linear probe on token histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechgen.core.errors import UserError
from speechgen.evaluation.optional import require

__all__ = ["PhonePurity", "SpeakerLeakage", "phone_purity", "speaker_leakage", "token_histograms"]


@dataclass(frozen=True)
class PhonePurity:
    """How well tokens and frame labels agree, each in [0, 1].

    Attributes:
        phone_purity: frames whose label is the commonest one of their token.
        cluster_purity: frames whose token is the commonest one of their label.
        pnmi: share of the label's uncertainty that the token removes, I(label; token) / H(label).
        frames: how many were counted.
    """

    phone_purity: float
    cluster_purity: float
    pnmi: float
    frames: int


def phone_purity(tokens: ArrayLike, labels: ArrayLike) -> PhonePurity:
    """Compare tokens [N] with the phone labels [N] of the same frames.

    Raises:
        UserError: the two differ in length, are empty, or hold a single label only.
    """
    tokens, labels = np.asarray(tokens).ravel(), np.asarray(labels).ravel()
    if tokens.shape != labels.shape:
        raise UserError(f"{tokens.size} tokens but {labels.size} labels: give one label for each token")
    if np.unique(labels).size < 2:
        raise UserError("purity needs frames of at least two different labels")
    counts = require("sklearn.metrics.cluster").contingency_matrix(labels, tokens)  # [labels, tokens]
    shares = counts.sum(axis=1) / counts.sum()
    information = require("sklearn.metrics").mutual_info_score(None, None, contingency=counts)
    return PhonePurity(
        phone_purity=float(counts.max(axis=0).sum() / counts.sum()),
        cluster_purity=float(counts.max(axis=1).sum() / counts.sum()),
        pnmi=float(information / -(shares * np.log(shares)).sum()),
        frames=int(counts.sum()),
    )


@dataclass(frozen=True)
class SpeakerLeakage:
    """Accuracy of a linear probe for the speaker, and what always naming the commonest speaker would reach."""

    accuracy: float
    chance: float
    speakers: int
    utterances: int


def token_histograms(utterances: Sequence[ArrayLike], size: int) -> NDArray[np.float64]:
    """Return the share of each of `size` tokens in each utterance (token ids [T] each): [N, size], rows sum to 1."""
    return np.stack([np.bincount(ids, minlength=size) / len(ids) for ids in map(np.asarray, utterances)])


def speaker_leakage(features: ArrayLike, speakers: Sequence[str | int], *, seed: int = 0, folds: int = 4) -> SpeakerLeakage:
    """Train a logistic regression to name the speaker and test it on utterances that it has not seen.

    Each of `folds` stratified parts is tested once by a probe trained on the others, so every utterance counts.

    Args:
        features: [N, D], one row per utterance, such as `token_histograms`.
        speakers: [N] who spoke.
        seed: how utterances are dealt into parts.
        folds: number of parts.

    Raises:
        UserError: lengths differ, there is one speaker only, or a speaker has fewer utterances than there are parts.
    """
    features, names = np.asarray(features), np.asarray(speakers)
    if len(features) != len(names):
        raise UserError(f"{len(features)} utterances but {len(names)} speakers: give one speaker for each")
    classes, counts = np.unique(names, return_counts=True)
    if len(classes) < 2 or counts.min() < folds:
        few = f"{len(classes)} speakers, the rarest with {counts.min() if len(counts) else 0} utterances"
        raise UserError(f"a speaker probe needs two speakers with {folds} utterances each, got {few}")
    selection = require("sklearn.model_selection")
    probe = require("sklearn.pipeline").make_pipeline(
        require("sklearn.preprocessing").StandardScaler(), require("sklearn.linear_model").LogisticRegression(max_iter=1000)
    )
    parts = selection.StratifiedKFold(folds, shuffle=True, random_state=seed)
    predicted = selection.cross_val_predict(probe, features, names, cv=parts)
    return SpeakerLeakage(float((predicted == names).mean()), float(counts.max() / len(names)), len(classes), len(names))
