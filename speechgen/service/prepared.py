"""Prepared folders as evaluations read them: clips with their sound, and the features that one checkpoint made.

Reading them needs the train extra, which is imported when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings, Waveform

if TYPE_CHECKING:
    from speechgen.data.features import FeatureStore

__all__ = ["RATE", "Clip", "features_of", "read_clips"]

RATE = MelSettings().sample_rate
"""Of prepared audio."""


@dataclass(frozen=True)
class Clip:
    """A cut of a prepared folder.

    Attributes:
        id: its name.
        speaker: who speaks; empty if nobody does, as is the text.
        text: what is said, or describes it.
        doubtful: whether the text cannot be right, by its length.
        samples: [L] at RATE.
    """

    id: str
    speaker: str
    text: str
    doubtful: bool
    samples: Tensor

    @property
    def audio(self) -> Waveform:
        """Its sound."""
        return Waveform.single(self.samples, RATE)


def read_clips(folder: Path, limit: int = 0) -> list[Clip]:
    """Return the first clips of a prepared folder, 0: all.

    Raises:
        UserError: it is not prepared.
    """
    from speechgen.data.decode import AUDIO_PRODUCER, stored_samples
    from speechgen.data.features import FeatureStore, producer_hash
    from speechgen.data.prepare import load_cuts

    cuts = list(load_cuts(folder))[: limit or None]
    store = FeatureStore(folder / "features" / f"audio-{producer_hash(AUDIO_PRODUCER)}")
    return [
        Clip(
            cut.id,
            cut.supervisions[0].speaker or "",
            cut.supervisions[0].text or "",
            bool((cut.custom or {}).get("text_outlier")),
            stored_samples(store, cut.id),
        )
        for cut in cuts
    ]


def features_of(folder: Path, kind: str, maker: str, wanted: str) -> FeatureStore:
    """Return the feature of a prepared folder that one checkpoint made.

    Args:
        folder: that `speechgen prepare` wrote.
        kind: of feature, such as "tokens".
        maker: what its producer calls it: "tokenizer" or "codec".
        wanted: the checkpoint's fingerprint, or the codec's identity.

    Raises:
        UserError: the folder has none of it.
    """
    from speechgen.data.features import FeatureStore, find

    stores = [FeatureStore(path) for path in find(folder, kind).values()]
    matching = [store for store in stores if store.producer.get(maker) == wanted]
    if not matching:
        raise UserError(f"{folder} holds no {kind} of the {maker} {wanted}: add them by `speechgen prepare`")
    return matching[0]
