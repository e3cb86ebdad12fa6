"""Which of some labels a sound has: a classifier fitted on labelled recordings in seconds, for sounds that were generated.

    features    log-mel spectrogram of the loudest ten seconds, relative to its peak: its statistics over time, those of its
                changes, and the course of its level
    classifier  support vectors on the standardised features (Cortes and Vapnik, 1995), balanced over the labels

Its accuracy on recordings it has not seen is measured by cross-validation, and belongs beside every figure it gives. The
features also serve a Fréchet distance, as the principal components of the recordings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings, Waveform
from speechgen.evaluation.frechet import Features
from speechgen.evaluation.optional import require

__all__ = ["FEATURES", "SoundClassifier", "fit_classifier", "sound_features"]

MEL = MelSettings(num_bins=64, high_hz=8000.0)
"""Up to 8 kHz: recordings and codecs differ above it."""
FEATURES = "log-mel statistics 1"
"""Name of the features; another number if they change."""
RANGE_DB = 60.0
LONGEST_SECONDS = 10.0
COMPONENTS = 32
FOLDS = 5
PENALTY = 3.0


def sound_features(audio: Waveform) -> NDArray[np.float64]:
    """Return the features [D] of one row of audio; its level does not matter.

    Raises:
        UserError: it is silent.
    """
    heard = resample(audio, MEL.sample_rate)
    samples = heard.samples[0, : int(heard.lengths[0])]
    if not samples.numel() or float(samples.abs().max()) < 1e-5:
        raise UserError("there is nothing to hear: every sample is 0")
    samples = torch.nn.functional.pad(samples / samples.abs().max(), (0, max(0, MEL.n_fft - len(samples))))
    decibels = log_mel(samples[None], MEL)[0].double() * (20 / np.log(10))  # [T, M]
    decibels = (decibels - decibels.max()).clamp(min=-RANGE_DB)
    level = decibels.logsumexp(-1)
    loud = (level > level.max() - RANGE_DB / 2).nonzero()[:, 0]
    first = int(loud[0])
    last = min(int(loud[-1]) + 1, first + int(LONGEST_SECONDS * MEL.frame_rate))
    heard_part = decibels[first : max(last, first + 3)]
    if len(heard_part) < 3:
        heard_part = torch.cat([heard_part, heard_part[-1:].expand(3 - len(heard_part), -1)])
    changes = heard_part.diff(dim=0)
    cepstrum = torch.fft.rfft(torch.cat([heard_part, heard_part.flip(-1)], -1), dim=-1).real[:, :20]  # as a cosine transform
    course = heard_part.mean(-1)
    parts = [
        heard_part.mean(0),
        heard_part.std(0),
        heard_part.quantile(0.9, dim=0),
        changes.abs().mean(0),
        changes.std(0),
        cepstrum.mean(0),
        cepstrum.std(0),
        cepstrum.diff(dim=0).std(0),
        torch.nn.functional.interpolate(course[None, None], size=16, mode="linear")[0, 0] - course.mean(),
        _rhythm(course),
        torch.tensor([np.log(len(heard_part)), float(course.std()), float(changes.clamp(min=0).mean())]),
    ]
    return torch.cat([part.double() for part in parts]).numpy()


def _rhythm(course: torch.Tensor) -> torch.Tensor:
    """How the level's rises repeat: their autocorrelation [16] at lags from a tenth of a second to one and a half."""
    rises = course.diff().clamp(min=0)
    rises = rises - rises.mean()
    lags = torch.linspace(0.1, 1.6, 16) * MEL.frame_rate
    power = rises.square().sum().clamp(min=1e-9)
    found = [float((rises[int(lag) :] * rises[: -int(lag)]).sum() / power) if int(lag) < len(rises) else 0.0 for lag in lags]
    return torch.tensor(found)


@dataclass(frozen=True)
class SoundClassifier:
    """A fitted classifier.

    Attributes:
        labels: that it knows.
        clips: that it was fitted on.
        accuracy: on clips it had not seen, by cross-validation.
        by_label: the same of each label.
    """

    labels: tuple[str, ...]
    clips: int
    accuracy: float
    by_label: dict[str, float]
    _model: Any
    _components: Any

    @property
    def encoder(self) -> str:
        """Name of what `embed` returns."""
        return f"{FEATURES}, {COMPONENTS} principal components of {self.clips} recordings"

    def recognise(self, features: NDArray[np.float64]) -> list[str]:
        """Return the label of each row of features [N, D]."""
        return [str(label) for label in self._model.predict(features)]

    def embed(self, features: NDArray[np.float64]) -> Features:
        """Return [N, COMPONENTS] for a Fréchet distance."""
        embedded: Features = self._components.transform(features)
        return embedded


def fit_classifier(features: NDArray[np.float64], labels: Sequence[str], groups: Sequence[str]) -> SoundClassifier:
    """Fit a classifier, and measure it on what it has not seen.

    Args:
        features: [N, D] of the recordings.
        labels: N of them.
        groups: what belongs together is held out together: names of the sources that recordings were cut from.

    Raises:
        UserError: there are fewer than two labels, a label has fewer than FOLDS recordings, or scikit-learn is missing.
    """
    counts = Counter(labels)
    few = [label for label, count in counts.items() if count < FOLDS]
    if len(counts) < 2 or few:
        raise UserError(
            f"a classifier needs two labels or more with {FOLDS} recordings each; "
            f"{', '.join(few) or 'there is one label: ' + ', '.join(counts)} has fewer"
        )
    make = _maker()
    splits = require("sklearn.model_selection").StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    truth, guessed = np.array(labels), np.empty(len(labels), object)
    for fitted, held_out in splits.split(features, truth, groups):
        guessed[held_out] = make().fit(features[fitted], truth[fitted]).predict(features[held_out])
    right = guessed == truth
    by_label = {label: float(right[truth == label].mean()) for label in sorted(counts)}
    pipeline, scale = require("sklearn.pipeline").make_pipeline, require("sklearn.preprocessing").StandardScaler
    size = min(COMPONENTS, len(features) - 1, features.shape[1])
    components = pipeline(scale(), require("sklearn.decomposition").PCA(size, random_state=0)).fit(features)
    return SoundClassifier(tuple(by_label), len(labels), float(right.mean()), by_label, make().fit(features, truth), components)


def _maker() -> Callable[[], Any]:
    pipeline, scale = require("sklearn.pipeline").make_pipeline, require("sklearn.preprocessing").StandardScaler
    machine = require("sklearn.svm").SVC
    return lambda: pipeline(scale(), machine(C=PENALTY, class_weight="balanced", random_state=0))
