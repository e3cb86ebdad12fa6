"""Which utterances are in batch number n: a function of the seed and n, in whole utterances or for crops."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lhotse import CutSet, MonoCut
from lhotse.dataset import BucketingSampler, SimpleCutSampler
from numpy.typing import NDArray

from speechgen.core.random import mix
from speechgen.data.decode import RATE

__all__ = ["Crops", "Item", "WholeUtterances"]


@dataclass(frozen=True)
class Item:
    """A usable utterance: the number of its prepared folder, its cut, who speaks (empty if unknown), samples L."""

    folder: int
    id: str
    speaker: str
    samples: int

    @property
    def seconds(self) -> float:
        """Length of the stored audio."""
        return self.samples / RATE


class WholeUtterances:
    """Batches of utterances of similar length, by lhotse's bucketing sampler.

    Each utterance comes about once an epoch, or, with `speaker_balance` B > 0, more often the less its speaker says: a
    speaker of S seconds gets a share of its folder in proportion to S^(1 - B), and the folders keep theirs.

    Attributes:
        size: batches in an epoch. Each has as many as the first, so that the place of batch n is known without going
            through the epochs before it; the few batches by which another shuffle differs are dropped or repeated.
    """

    def __init__(
        self, items: Sequence[Item], batch_seconds: float, buckets: int, seed: int, speaker_balance: float = 0.0
    ) -> None:
        self._items, self._batch_seconds, self._seed = items, batch_seconds, seed
        self._buckets = min(buckets, len(items))
        self._times = _times_an_epoch(items, speaker_balance)
        self._epoch = (0, self._shuffled(0))
        self.size = len(self._epoch[1])

    def __call__(self, number: int) -> list[Item]:
        """Return the items of batch `number`."""
        epoch, place = divmod(number, self.size)
        current, batches = self._epoch
        if epoch != current:
            batches = self._shuffled(epoch)
            self._epoch = (epoch, batches)
        return [self._items[index] for index in batches[place % len(batches)]]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        """Item numbers of each batch of an epoch."""
        rng = np.random.default_rng(mix(self._seed, "times", epoch))
        times = np.floor(self._times + rng.random(len(self._items))).astype(int).tolist()
        sampler = BucketingSampler(
            CutSet.from_cuts(
                MonoCut(f"{n}-{turn}", 0.0, item.seconds, 0) for n, item in enumerate(self._items) for turn in range(times[n])
            ),
            sampler_type=SimpleCutSampler,
            num_buckets=self._buckets,
            max_duration=self._batch_seconds,
            shuffle=True,
            world_size=1,  # processes share one plan and take turns
            rank=0,
        )
        # The samplers of the buckets ignore a seed, but not the epoch.
        sampler.set_epoch(mix(self._seed, "epoch", epoch) % 2**31)
        with warnings.catch_warnings():
            # An utterance longer than the budget is a batch by itself.
            warnings.filterwarnings("ignore", message="The first cut drawn")
            return [[int(cut.id.partition("-")[0]) for cut in batch] for batch in sampler]


def _times_an_epoch(items: Sequence[Item], balance: float) -> NDArray[np.float64]:
    """How often each item is expected in an epoch, so that each folder keeps its seconds; 1 without balance."""
    if balance == 0:
        return np.ones(len(items))
    said: Counter[tuple[int, str]] = Counter()
    for item in items:
        said[item.folder, item.speaker or item.id] += item.samples
    times = np.array([float(said[item.folder, item.speaker or item.id]) ** -balance for item in items])
    samples = np.array([item.samples for item in items], np.float64)
    folders = np.array([item.folder for item in items])
    for folder in np.unique(folders):
        here = folders == folder
        times[here] *= samples[here].sum() / (samples[here] @ times[here])
    return times


class Crops:
    """Batches of `size` utterances to crop, drawn in proportion to their length, so that all audio is as likely."""

    def __init__(self, items: Sequence[Item], size: int, seed: int) -> None:
        self._items, self._seed, self._batch_size = items, seed, size
        self._share = np.cumsum([item.samples for item in items]) / sum(item.samples for item in items)
        self.size = -(-len(items) // size)

    def __call__(self, number: int) -> list[Item]:
        """Return the items of batch `number`."""
        rng = np.random.default_rng(mix(self._seed, "crops", number))
        chosen = np.searchsorted(self._share, rng.random(self._batch_size), side="right")
        return [self._items[min(int(index), len(self._items) - 1)] for index in chosen]
