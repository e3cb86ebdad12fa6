"""Editing a recording: the request, the models that make the new sound, and what came out.

`Engine.edit` is the way in; `read_transcript` is what shows the words of a recording before they are changed.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from torch import Tensor

from speechgen.audio.io import Recording, read_recording, write_audio
from speechgen.audio.loudness import active_level
from speechgen.core.config import StrictModel, validate
from speechgen.core.errors import UserError
from speechgen.core.files import written_beside
from speechgen.core.protocols import Progress, SemanticTokenizer
from speechgen.pipeline.alignment import MARKS, Segment
from speechgen.pipeline.editing import Editor, Region
from speechgen.pipeline.edits import Change, at_span, differences
from speechgen.pipeline.fillers import can_fill, filler_for, usual_options
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.prompts import SILENT_DBFS
from speechgen.pipeline.transcript import POOR_FIT, Transcript, Word, align, words_of
from speechgen.service import catalog
from speechgen.service.results import provenance
from speechgen.text.normalize import speakable
from speechgen.text.phonemes import Phonemizer, language_warning

if TYPE_CHECKING:
    from speechgen.service.engine import Engine

__all__ = ["EditRequest", "EditResult", "edit_recording", "read_transcript"]

LONGEST_SECONDS = 3600.0
LONGEST_TRANSCRIBED_SECONDS = 600.0
"""Of a recording whose words are to be found."""
LONGEST_TEXT = 400
"""Characters of one stretch: about half a minute. More is not an edit."""
LANGUAGES = {"en": "en-us"}


class EditRequest(StrictModel):
    """A recording and what it is to say instead. Give `span` and `text`, or `old_text` and `new_text`, or all but the last."""

    audio: Path = Field(description="recording to change; it keeps its sampling rate and its channels")
    start: float | None = Field(None, description="seconds at which the span begins")
    stop: float | None = Field(None, description="seconds at which it ends; the same as start puts words in")
    text: str | None = Field(None, description="the words of the span; empty: it is cut out")
    old_text: str | None = Field(None, description="what the recording says, all of it")
    new_text: str | None = Field(None, description="what it is to say: only words that differ are made anew")
    pipeline: str = Field("default", description="name of a pipeline, or path of its YAML")
    language: str = Field("en-us", min_length=2, description="espeak-ng's code of the text's language, such as en-us")
    speed: float = Field(1.0, ge=0.5, le=2.0, description="tempo of the new words; 1 is that of the words around")
    steps: int | None = Field(None, ge=1, le=128, description="integration steps: more is slower and cleaner")
    temperature: float | None = Field(None, ge=0.0, le=2.0, description="0: the likeliest reading; 1: as varied as people")
    candidates: int = Field(4, ge=1, le=16, description="how often to make each stretch; what fits best is kept")
    seed: int | None = Field(None, ge=0, lt=2**63, description="same seed, same samples; chosen at random if not given")

    @classmethod
    def checked(cls, content: dict[str, Any]) -> EditRequest:
        """Validate plain values.

        Raises:
            UserError: a value is out of range, or it is not clear what is to be changed.
        """
        request = validate(cls, content, "request")
        spanned, named = request.start is not None and request.stop is not None, request.new_text is not None
        if spanned == named:
            raise UserError("say what is to be changed: either a span in seconds and its new text, or the old and the new text")
        if spanned and request.text is None:
            raise UserError("a span needs the words that it is to say: give a text; an empty one cuts the span out")
        if named and request.text is not None:
            raise UserError("a text belongs to a span: with the old and the new text of the whole recording, leave it out")
        if named and not (request.old_text or "").strip():
            raise UserError("the new text needs the old one: give all that the recording says")
        if named and not speakable(request.new_text or ""):
            raise UserError("the new text says nothing: give the words that are to stay, at least one")
        if request.text is not None and request.text.strip() and not speakable(request.text):
            raise UserError(f"there is nothing to speak in {request.text!r}: give a word, or nothing to cut the span out")
        return request

    def model_options(self) -> dict[str, Any]:
        """What the request asks of the models, by the names of their options."""
        asked = {"speed": self.speed, "steps": self.steps, "temperature": self.temperature}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True)
class EditResult:
    """A recording after its changes.

    Attributes:
        samples: [C, L], at the recording's own rate, on the CPU.
        recording: as it was.
        regions: what was changed and where it lies, in the order of time; everything else is the recording, sample for sample.
        words: of the recording as it was, if its text was given.
        seed: what the randomness came from.
        pipeline: name of the pipeline.
        device: where the networks ran.
        load_seconds: time spent loading models in this call; 0 if they were loaded.
        work_seconds: time spent from the recording to the finished samples.
        warnings: what the user should know.
    """

    samples: Tensor = field(repr=False)
    recording: Recording = field(repr=False)
    regions: tuple[Region, ...]
    words: tuple[Word, ...]
    seed: int
    pipeline: str
    device: str
    load_seconds: float
    work_seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.recording.rate

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return self.samples.shape[1] / self.rate

    @property
    def provenance(self) -> str:
        """What is written into the metadata of every file."""
        places = ", ".join(f"{region.new_start:.3f}-{region.new_stop:.3f} s" for region in self.regions)
        source = f"pipeline {Path(self.pipeline).stem}"
        return provenance(source, self.seed).replace("synthetic speech", f"recording edited with synthetic speech at {places}")

    @property
    def new_words(self) -> list[Segment]:
        """Where the words of the result lie; those of a stretch that was made anew are told as one."""
        edges = [(0.0, 0.0), *((region.stop, region.new_stop) for region in self.regions)]
        placed = [Segment(region.text, region.new_start, region.new_stop) for region in self.regions if region.text]
        for word in self.words:
            middle = (word.start + word.stop) / 2
            if not any(region.start <= middle < region.stop for region in self.regions):
                old, new = max(edge for edge in edges if edge[0] <= middle)
                placed.append(Segment(word.text.strip(MARKS), word.start + new - old, word.stop + new - old))
        return sorted(placed, key=lambda word: word.start)

    def report(self) -> dict[str, Any]:
        """Everything but the samples, ready for JSON."""
        rounded = [
            {name: round(value, 5) if isinstance(value, float) else value for name, value in vars(region).items()}
            for region in self.regions
        ]
        return {
            "sample_rate": self.rate,
            "channels": self.samples.shape[0],
            "seconds": round(self.seconds, 3),
            "regions": rounded,
            "seed": self.seed,
            "load_seconds": round(self.load_seconds, 3),
            "work_seconds": round(self.work_seconds, 3),
            "pipeline": self.pipeline,
            "device": self.device,
            "warnings": list(self.warnings),
        }

    def save(self, path: str | Path, format: str | None = None) -> Path:
        """Write the sound; the file appears whole or not at all. In wav and flac, what was not changed stays bit for bit.

        Raises:
            UserError: unknown format, no such folder, or the disk refuses.
        """
        path = Path(path)
        write_audio(path, self.samples, self.rate, format=format, comment=self.provenance, like=self.recording.subtype)
        return path

    def plot(self, path: str | Path) -> Path:
        """Draw the first change, and the recording above it as it was, into a PNG; the file appears whole or not at all.

        Raises:
            UserError: the disk refuses.
        """
        from speechgen.service.plot import Marked, draw_edit  # matplotlib takes a while

        path = Path(path)
        spoken = [Segment(word.text.strip(MARKS), word.start, word.stop) for word in self.words]
        before = [Segment("", region.start, region.stop) for region in self.regions]
        after = [Segment("", region.new_start, region.new_stop) for region in self.regions]
        figure = draw_edit(
            Marked(self.recording.mono.samples[0], spoken, before),
            Marked(self.samples.mean(0), self.new_words, after),
            self.rate,
        )
        try:
            with written_beside(path) as beside:
                figure.savefig(beside, format="png", metadata={"Description": self.provenance})
        except OSError as error:
            raise UserError(f"cannot write {path}: {error}") from error
        return path


def read_transcript(engine: Engine, audio: Path, text: str, pipeline: str = "default", language: str = "en-us") -> Transcript:
    """Find the words of a recording.

    Raises:
        UserError: the recording cannot be read, or says something else.
    """
    recording = _read(audio, LONGEST_TRANSCRIBED_SECONDS)
    loaded = engine.load(pipeline)
    return _align(recording, text, loaded, loaded.prepare(LANGUAGES.get(language, language)))


def edit_recording(engine: Engine, request: EditRequest, progress: Progress | None = None) -> EditResult:
    """Change a recording; see `Engine.edit`."""
    recording = _read(request.audio, LONGEST_SECONDS if request.old_text is None else LONGEST_TRANSCRIBED_SECONDS)
    if request.start is not None and request.stop is not None:
        at_span(request.start, request.stop, request.text or "", recording.seconds)  # refused before anything is loaded
    started = time.perf_counter()
    _require_filling(engine, request.pipeline)
    pipeline = engine.load(request.pipeline)
    options = pipeline.options(usual_options(pipeline) | request.model_options())
    language = LANGUAGES.get(request.language, request.language)
    phonemizer = pipeline.prepare(language)
    loaded = time.perf_counter()
    words: tuple[Word, ...] = ()
    warnings = [*filter(None, [language_warning(language)])]
    transcript = None
    if request.old_text is not None:
        transcript = _align(recording, request.old_text, pipeline, phonemizer)
        words = transcript.words
        if transcript.fit < POOR_FIT:
            warnings.append(
                f"the recording fits its text badly (log probability {transcript.fit:.1f} by phone, {POOR_FIT} and more is "
                "usual): check the old text, and where the change lies"
            )
    changes = _changes(request, recording, transcript, phonemizer)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    editor = Editor(filler_for(pipeline, options, language), _tokenizer(pipeline), phonemizer, engine.device)
    edited = editor.apply(
        recording.samples, recording.rate, changes, seed=seed, candidates=request.candidates, progress=progress
    )
    return EditResult(
        samples=edited.samples,
        recording=recording,
        regions=edited.regions,
        words=words,
        seed=seed,
        pipeline=request.pipeline,
        device=str(engine.device),
        load_seconds=loaded - started,
        work_seconds=time.perf_counter() - loaded,
        warnings=(*warnings, *edited.warnings),
    )


def _require_filling(engine: Engine, pipeline: str) -> None:
    """Refuse, before anything is loaded, a pipeline that cannot edit, and name those that can."""
    if can_fill(engine.check(pipeline)):
        return
    able = []
    for name in catalog.pipelines():
        with suppress(UserError):  # of pipelines whose checkpoints are not installed
            able += [name] if can_fill(engine.check(name)) else []
    others = f"those that can: {', '.join(able)}" if able else "no installed pipeline can"
    raise UserError(f"pipeline {Path(pipeline).stem} cannot fill a gap between what stays, as editing does; {others}")


def _read(path: Path, longest: float) -> Recording:
    recording = read_recording(path, max_seconds=longest)
    if active_level(recording.mono.samples[0], recording.rate) < SILENT_DBFS:
        raise UserError(f"{path} is silent: give a recording of speech")
    return recording


def _align(recording: Recording, text: str, pipeline: Pipeline, phonemizer: Phonemizer) -> Transcript:
    return align(text, recording.mono.to(pipeline.stages.device), _tokenizer(pipeline), phonemizer)


def _tokenizer(pipeline: Pipeline) -> SemanticTokenizer:
    if pipeline.stages.tokenizer is None:
        raise UserError("this pipeline has no tokenizer to find words by: choose another --pipeline for editing")
    return pipeline.stages.tokenizer


def _changes(request: EditRequest, recording: Recording, transcript: Transcript | None, phonemizer: Phonemizer) -> list[Change]:
    """What is to be changed where, with words as they are spoken."""
    if request.start is not None and request.stop is not None:
        spoken = " ".join(word for word, _ in words_of(request.text, phonemizer)) if request.text else ""
        changes = [at_span(request.start, request.stop, spoken, recording.seconds, transcript)]
    else:
        assert transcript is not None
        wanted = [word for word, _ in words_of(request.new_text or "", phonemizer)]
        changes = differences(transcript, wanted, recording.seconds)
    for change in changes:
        if len(change.text) > LONGEST_TEXT:
            raise UserError(
                f"one stretch is to say {len(change.text)} characters, at most {LONGEST_TEXT} are allowed: make it in several "
                "edits, or speak it by `speechgen synth`"
            )
    return changes
