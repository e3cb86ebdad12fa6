"""One text in several ways: through other pipelines, vocoders and settings, with figures.

A vocoder other than a pipeline's own takes an engine of its own; the last few are kept.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from speechgen.core import checkpoint, registry
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform
from speechgen.evaluation.naturalness import predict_opinion
from speechgen.evaluation.speaker import SpeakerSimilarity
from speechgen.service import catalog, voices
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import SynthesisResult

__all__ = ["Figures", "Judge", "Workshop", "vocoders"]

KEPT_ENGINES = 4


def vocoders() -> list[str]:
    """Names of the vocoders that are installed and render mels; what cannot be read is passed over."""
    roles, found = registry.names(), []
    for name, folder in catalog.checkpoints().items():
        try:
            info = checkpoint.read_info(folder)
        except UserError:
            continue
        if roles.get(info.model) == "vocoders" and tuple(info.accepts) == ("Mel",):
            found.append(name)
    return found


class Workshop:
    """Speaks a request with the vocoder that is asked for."""

    def __init__(self) -> None:
        self._engines: dict[tuple[int, str], Engine] = {}
        self._lock = threading.Lock()

    def speak(
        self, engine: Engine, request: SynthesisRequest, vocoder: str | None = None, progress: Progress | None = None
    ) -> SynthesisResult:
        """Speak.

        Args:
            engine: speaks if no vocoder is asked for, and says which device to use.
            request: what to speak.
            vocoder: name of a checkpoint that takes the place of the pipeline's own.
            progress: called with (done, total).

        Raises:
            UserError: something that was given cannot be used, or the vocoder does not fit the pipeline.
        """
        return (self._with(engine, vocoder) if vocoder else engine).synthesize(request, progress)

    def _with(self, engine: Engine, vocoder: str) -> Engine:
        catalog.find_checkpoint(vocoder)
        with self._lock:
            key = (id(engine), vocoder)
            if key not in self._engines:
                while len(self._engines) >= KEPT_ENGINES:
                    del self._engines[next(iter(self._engines))]
                self._engines[key] = Engine(str(engine.device), [f"checkpoints.vocoder={vocoder}"])
            return self._engines[key]


@dataclass(frozen=True)
class Figures:
    """What can be measured of a result: predicted opinion from 1 to 5, similarity to the voice; None: not measured."""

    opinion: float | None
    similarity: float | None


class Judge:
    """Measures results; needs the extra `eval`."""

    def __init__(self) -> None:
        """Load the measure of speakers.

        Raises:
            UserError: a package of the extra is not installed.
        """
        self._similarity = SpeakerSimilarity()

    def __call__(self, result: SynthesisResult, request: SynthesisRequest) -> Figures:
        """Measure a result against the voice of its request.

        Raises:
            UserError: a package is not installed.
        """
        sound = Waveform.single(result.samples, result.rate)
        voice = voices.read_source(request.ref, request.voice).audio
        try:
            similarity = self._similarity(sound, voice)
        except UserError:  # too short to tell
            similarity = None
        return Figures(predict_opinion(sound).ovrl, similarity)
