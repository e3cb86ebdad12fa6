"""What preparing a corpus found: counts, hours, speakers, and every fault with the utterances that have it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut

from speechgen.core.checkpoint import write_text_atomically

__all__ = ["FAULTS", "WARNINGS", "Report", "text_outliers"]

FAULTS = {
    "missing": "file does not exist",
    "unreadable": "not audio, empty, or not finite",
    "silent": "nothing above -60 dBFS",
    "too_short": "under 0.3 s",
    "duplicate": "same recording as an earlier utterance",
}
"""Why an utterance is left out."""
WARNINGS = {
    "too_long": "over 30 s: training takes such only in crops",
    "clipping": "over 0.1 % of samples at full scale",
    "text_outlier": "characters per second far from the corpus's: text probably wrong, not used",
    "no_text": "no transcript",
}
"""What is noted of an utterance that is kept."""


@dataclass
class Report:
    """Contents of `report.json`; `faults` and `warnings` are {kind: utterance ids}."""

    corpus: str
    source: str
    speed: float | None = None
    """What the audio is played at; None if it was prepared before this was noted."""
    utterances: int = 0
    hours: float = 0.0
    speakers: int = 0
    languages: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    warnings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def count(self, cuts: CutSet) -> None:
        """Fill in what is counted over the kept utterances."""
        spoken = [cut.supervisions[0] for cut in cuts]
        self.utterances = len(spoken)
        self.hours = round(sum(cut.duration for cut in cuts) / 3600, 3)
        self.speakers = len({s.speaker for s in spoken if s.speaker})
        self.languages = dict(Counter(s.language or "unknown" for s in spoken))

    def save(self, folder: Path) -> None:
        """Write `report.json`."""
        write_text_atomically(folder / "report.json", json.dumps(self.__dict__, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Report:
        """Read `report.json`."""
        return cls(**json.loads((folder / "report.json").read_text(encoding="utf-8")))


def text_outliers(cuts: list[MonoCut], threshold: float = 4.5, minimum: int = 20) -> set[str]:
    """Return ids whose characters per second are improbable for their language.

    The logarithm of the speaking rate is compared with the language's median in units of its robust deviation. A text that
    describes a sound is not spoken: cuts with tags are passed over.

    Args:
        cuts: utterances with one supervision each.
        threshold: robust deviations from the median.
        minimum: smallest group in which rates can be judged.
    """
    groups: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for cut in cuts:
        spoken = cut.supervisions[0]
        if spoken.text and not spoken.custom:
            # Half a second of silence around speech is usual and says nothing of its rate.
            rate = len(spoken.text) / max(cut.duration - 0.5, 0.2)
            groups[spoken.language or ""].append((cut.id, float(np.log(rate))))
    outliers = set()
    for group in groups.values():
        rates = np.array([rate for _, rate in group])
        middle = np.median(rates)
        deviation = 1.4826 * np.median(np.abs(rates - middle)) + 1e-3
        if len(group) >= minimum:
            outliers |= {cut_id for cut_id, rate in group if abs(rate - middle) > threshold * deviation}
    return outliers
