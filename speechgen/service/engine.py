"""The engine: loads each pipeline once, speaks requests, copies recordings through a vocoder."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speechgen.audio.io import read_audio
from speechgen.audio.loudness import normalize_level
from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core import checkpoint, registry
from speechgen.core.config import StrictModel, apply_overrides, validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Autoencoder, Progress, Vocoder
from speechgen.core.random import generator
from speechgen.core.types import Waveform
from speechgen.pipeline.carriers import Chunk, Options, Reference, Speech
from speechgen.pipeline.coded import CodedVocoder
from speechgen.pipeline.longform import limit_peaks
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.stages import PipelineConfig, Plan, load_stages, plan_stages, read_config
from speechgen.service import catalog, devices, voices
from speechgen.service.requests import MusicRequest, SynthesisRequest
from speechgen.service.results import SynthesisResult, provenance
from speechgen.service.whisper import local_whisper
from speechgen.text import markup
from speechgen.text.normalize import speakable
from speechgen.text.phonemes import language_warning

if TYPE_CHECKING:
    from speechgen.service.edit import EditRequest, EditResult
    from speechgen.service.music import MusicMaker

__all__ = ["Engine", "Speaker"]

LANGUAGES = {"en": "en-us"}
"""Short names that espeak-ng does not know by themselves."""
KEPT_REFERENCES = 64
"""Prompts that an engine keeps; each takes well under a megabyte."""


class Engine:
    """Keeps what it has loaded. One engine serves many requests, one at a time."""

    def __init__(self, device: str = "auto", overrides: Sequence[str] = ()) -> None:
        """Choose the device; nothing is loaded.

        Args:
            device: auto, cpu, cuda, cuda:N or mps.
            overrides: changes to the settings of every pipeline, such as "acoustic.steps=6".

        Raises:
            UserError: there is no such device here.
        """
        devices.bound_kernel_cache()
        self.device = devices.resolve(device)
        self._overrides = tuple(overrides)
        self._hints = tuple(filter(None, [devices.overlooked_gpu()])) if device == "auto" else ()
        self._pipelines: dict[str, Pipeline] = {}
        self._vocoders: dict[str, tuple[Vocoder, type[StrictModel]]] = {}
        self._references: dict[tuple[object, ...], Reference] = {}
        self._makers: dict[str | None, MusicMaker] = {}

    def load(self, name: str) -> Pipeline:
        """Return a pipeline, loading it on first use.

        Raises:
            UserError: it is unknown, or its checkpoints are missing, damaged or do not fit together.
        """
        if name not in self._pipelines:
            path, config = self._config(name)
            listens = config.checkpoints.text_to_mel or config.checkpoints.text_to_latents
            hear = local_whisper(self.device) if listens else None
            stages = load_stages(config, catalog.find_checkpoint, self.device, source=str(path), hear=hear)
            self._pipelines[name] = Pipeline(stages, config)
        return self._pipelines[name]

    def check(self, name: str) -> Plan:
        """Tell what a pipeline consists of, without reading weights.

        Raises:
            UserError: it is unknown, or its checkpoints are missing or do not fit together.
        """
        path, config = self._config(name)
        return plan_stages(config, catalog.find_checkpoint, source=str(path))

    def _config(self, name: str) -> tuple[Path, PipelineConfig]:
        path = catalog.find_pipeline(name)
        config = read_config(path, self._overrides)
        asked = config.checkpoints.slots.values()  # a name that was set in its place is looked up by the stages
        if lacking := [each for each in catalog.lacking(path) if each in asked]:
            raise UserError(
                f"pipeline {Path(name).stem} needs {' and '.join(lacking)}, not installed here: copy what is missing from "
                f"checkpoints/ of speechgen's repository into {catalog.home() / 'checkpoints'}, or train it as {path} says"
            )
        return path, config

    def synthesize(self, request: SynthesisRequest, progress: Progress | None = None) -> SynthesisResult:
        """Speak a request.

        What can be refused without the models, text and reference, is refused before they are loaded.

        Args:
            request: from `SynthesisRequest.checked`.
            progress: called with (done, total).

        Raises:
            UserError: something that was given cannot be used.
        """
        job = self._prepare(request)
        speech = job.pipeline.speak(
            request.text,
            job.reference,
            language=job.language,
            seed=job.seed,
            options=job.options,
            tempo=job.tempo,
            progress=progress,
        )
        return self._result(request, job, speech)

    def converse(self, requests: Sequence[SynthesisRequest], progress: Progress | None = None) -> list[SynthesisResult] | None:
        """Speak the turns of a dialogue, of one pipeline, in few generations; None if it speaks for one at a time.

        Args:
            requests: one for each turn, which differ in text, voice and seed.
            progress: called with (done, total).

        Raises:
            UserError: something that was given cannot be used.
        """
        if not self.load(requests[0].pipeline).converses:
            return None
        jobs = [self._prepare(request) for request in requests]
        first, started = jobs[0], time.perf_counter()
        spoken = first.pipeline.converse(
            [request.text for request in requests],
            [job.reference for job in jobs],
            language=first.language,
            seeds=[job.seed for job in jobs],
            options=first.options,
            progress=progress,
        )
        if spoken is None:
            return None
        seconds = (time.perf_counter() - started) / len(jobs)
        made = [self._result(*each) for each in zip(requests, jobs, spoken, strict=True)]
        return [replace(result, synthesis_seconds=seconds) for result in made]

    def _result(self, request: SynthesisRequest, job: _Job, speech: Speech) -> SynthesisResult:
        """What was spoken, and how."""
        return SynthesisResult(
            samples=speech.samples,
            rate=speech.rate,
            seed=job.seed,
            pipeline=request.pipeline,
            voice=job.voice,
            device=str(self.device),
            threads=torch.get_num_threads(),
            load_seconds=job.load_seconds,
            synthesis_seconds=time.perf_counter() - job.loaded_at,
            pieces=speech.pieces,
            warnings=(*job.warnings, *speech.warnings),
            alignment=speech.alignment,
            provenance=provenance(f"pipeline {Path(request.pipeline).stem}", job.seed),
        )

    def stream(
        self, request: SynthesisRequest, *, spans: bool = True, first_piece: int = 0, progress: Progress | None = None
    ) -> Iterator[Chunk]:
        """Speak a request and hand on the sound while the rest is made; nothing is kept.

        Args:
            request: from `SynthesisRequest.checked`; without a seed, one is chosen.
            spans: hand on parts of a sentence. False: whole pieces of text, as `synthesize` makes them, sample for sample.
            first_piece: leave out the pieces before this one.
            progress: called with (done, total).

        Raises:
            UserError: something that was given cannot be used.
        """
        job = self._prepare(request)
        chunks = job.pipeline.stream(
            request.text,
            job.reference,
            language=job.language,
            seed=job.seed,
            options=job.options,
            tempo=job.tempo,
            spans=spans,
            first_piece=first_piece,
            progress=progress,
        )
        early = job.warnings
        for chunk in chunks:
            yield replace(chunk, warnings=(*early, *chunk.warnings))
            early = ()

    def _prepare(self, request: SynthesisRequest) -> _Job:
        """Read, load and check everything that a request needs."""
        if not speakable(request.text):
            raise UserError("there is nothing to speak in the text: give at least one letter or digit")
        markup.parse(request.text)
        source = voices.read_source(request.ref, request.voice)
        pace = None if request.tempo_ref is None else voices.read_source(request.tempo_ref, None)
        started = time.perf_counter()
        pipeline = self.load(request.pipeline)
        options = pipeline.options(
            request.model_options(),
            candidates=request.candidates,
            pitch=request.pitch or 0.0,
            seconds=request.duration,
        )
        language = LANGUAGES.get(request.language, request.language)
        pipeline.prepare(language)
        loaded = time.perf_counter()
        reference = self._reference(source, pipeline, request.ref_text, language)
        warnings = [*self._hints, *reference.warnings, *filter(None, [language_warning(language)])]
        if request.ref_text is not None and not pipeline.stages.reads_transcripts:
            warnings.append(f"pipeline {request.pipeline} needs no transcript: it was not used")
        return _Job(
            pipeline=pipeline,
            reference=reference,
            tempo=None if pace is None else self._reference(pace, pipeline, None, language),
            options=options,
            language=language,
            seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
            voice=source.label,
            warnings=tuple(warnings),
            load_seconds=loaded - started,
            loaded_at=loaded,
        )

    def _reference(self, source: voices.Source, pipeline: Pipeline, transcript: str | None, language: str) -> Reference:
        """Return the prompt of a voice, encoded once as long as its file and what it says stay as they are."""
        if not pipeline.stages.reads_transcripts:
            transcript = None
        key = (id(pipeline), source.key, transcript, language if pipeline.stages.reads_transcripts else None)
        if key not in self._references:
            while len(self._references) >= KEPT_REFERENCES:
                del self._references[next(iter(self._references))]
            self._references[key] = voices.encode(source, pipeline, transcript, language)
        return self._references[key]

    def edit(self, request: EditRequest, progress: Progress | None = None) -> EditResult:
        """Let a recording say other words in some places; everything else stays as it is, sample for sample.

        Args:
            request: from `EditRequest.checked`.
            progress: called with (done, total).

        Raises:
            UserError: something that was given cannot be used.
        """
        from speechgen.service.edit import edit_recording  # knows the engine

        result = edit_recording(self, request, progress)
        return replace(result, warnings=(*self._hints, *result.warnings))

    def compose(self, request: MusicRequest, progress: Progress | None = None) -> SynthesisResult:
        """Make music, or another sound, of a description.

        Args:
            request: from `MusicRequest.checked`.
            progress: called with (done, total).

        Raises:
            UserError: something that was given cannot be used, or no such model is installed.
        """
        from speechgen.service.music import compose  # knows the engine

        result = compose(self, request, progress)
        return replace(result, warnings=(*self._hints, *result.warnings))

    def load_maker(self, name: str | None) -> MusicMaker:
        """Return what makes music, loaded once.

        Args:
            name: of its checkpoint; the first one that is installed if None.

        Raises:
            UserError: there is none, it makes no music, or its codec is not installed.
        """
        from speechgen.service.music import load_maker

        if name not in self._makers:
            self._makers[name] = load_maker(name, self.device)
        return self._makers[name]

    def vocode(self, path: Path, vocoder: str, seed: int = 0, changes: Sequence[str] = ()) -> SynthesisResult:
        """Turn a recording into a mel and back (copy synthesis), at its own level.

        Args:
            path: an audio file.
            vocoder: name or folder of a vocoder's checkpoint.
            seed: for vocoders that draw noise.
            changes: options of the vocoder, such as "steps=25".

        Raises:
            UserError: the file is not audio, the checkpoint is no vocoder, or it has no such option.
        """
        recording = read_audio(path, max_seconds=voices.LONGEST_SECONDS)
        started = time.perf_counter()
        self.load_vocoder(vocoder, changes)
        loaded = time.perf_counter()
        made = self.copy(recording, vocoder, seed, changes)
        return SynthesisResult(
            samples=made.samples[0],
            rate=made.rate,
            seed=seed,
            pipeline=vocoder,
            voice=str(path),
            device=str(self.device),
            threads=torch.get_num_threads(),
            load_seconds=loaded - started,
            synthesis_seconds=time.perf_counter() - loaded,
            provenance=provenance(f"vocoder {Path(vocoder).name}", seed),
            original=resample(recording, made.rate).samples[0],
        )

    @torch.inference_mode()
    def copy(self, audio: Waveform, vocoder: str, seed: int = 0, changes: Sequence[str] = ()) -> Waveform:
        """Turn one row of audio into a mel and back, keeping its level; the end is cut to whole frames.

        Raises:
            UserError: it is shorter than 0.1 s, the checkpoint is no vocoder, or it has no such option.
        """
        model, options = self.load_vocoder(vocoder, changes)
        if audio.seconds < 0.1:
            raise UserError(f"the recording lasts {audio.seconds:.3f} s: at least 0.1 s are needed")
        samples = resample(audio, model.mel.sample_rate).samples[0]
        level = normalize_level(samples, model.mel.sample_rate)  # vocoders have seen only this level
        gain = float(level.abs().max() / samples.abs().max().clamp(min=1e-9)) or 1.0
        mel = mel_spectrogram(Waveform.single(level, model.mel.sample_rate).to(self.device), model.mel)
        made = model.generate(mel, options=options, rng=generator(seed, "vocoder", 0, device=self.device))
        return Waveform.single(limit_peaks(made.samples[0, : int(made.lengths[0])].float().cpu() / gain, made.rate), made.rate)

    def load_vocoder(self, name: str, changes: Sequence[str] = ()) -> tuple[Vocoder, StrictModel]:
        """Return a vocoder, loaded once, and its options.

        Args:
            name: of its checkpoint, or the path of its folder; an autoencoder's and + before it puts latents between.
            changes: options that are not to be the default, such as "steps=25".

        Raises:
            UserError: the checkpoint is no vocoder, does not render mels, or has no such option.
        """
        autoencoder, plus, behind = name.partition("+")
        if name not in self._vocoders and plus:
            vocoder, _ = self.load_vocoder(behind)
            coded = CodedVocoder(self._autoencoder(autoencoder), vocoder)
            self._vocoders[name] = coded, self._vocoders[behind][1]
        if name not in self._vocoders:
            folder = catalog.find_checkpoint(name)
            info = checkpoint.read_info(folder)
            spec = registry.get(info.model)
            if spec.role != "vocoders":
                raise UserError(f"{name} is a {info.model}, not a vocoder: `speechgen models` lists them")
            if "Mel" not in info.accepts:
                raise UserError(f"{name} renders {' + '.join(info.accepts)}, not a Mel: choose another vocoder")
            loaded: Vocoder = checkpoint.load(folder, self.device).generator()
            self._vocoders[name] = loaded, spec.options
        model, options = self._vocoders[name]
        return model, validate(options, apply_overrides({}, changes), f"option of {name}")

    def _autoencoder(self, name: str) -> Autoencoder:
        folder = catalog.find_checkpoint(name)
        spec = registry.get(checkpoint.read_info(folder).model)
        if spec.role != "autoencoders":
            raise UserError(f"{name} is of {spec.role}: before the + belongs an autoencoder")
        made: Autoencoder = checkpoint.load(folder, self.device).generator()
        return made


@dataclass(frozen=True)
class _Job:
    """A request with everything it needs."""

    pipeline: Pipeline
    reference: Reference
    tempo: Reference | None
    options: Options
    language: str
    seed: int
    voice: str
    warnings: tuple[str, ...]
    load_seconds: float
    loaded_at: float


@dataclass(frozen=True)
class Speaker:
    """A loaded pipeline with a short call for Python users; made by `speechgen.load`."""

    engine: Engine
    pipeline: str

    def synthesize(
        self,
        text: str,
        ref: str | Path | None = None,
        *,
        ref_text: str | None = None,
        voice: str | None = None,
        language: str = "en-us",
        speed: float | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        pitch: float | None = None,
        duration: float | None = None,
        candidates: int = 1,
        tempo_ref: str | Path | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> SynthesisResult:
        """Speak `text` in the voice of the recording `ref`, of the example `voice`, or of the default voice.

        The arguments are those of SynthesisRequest.

        Raises:
            UserError: something that was given cannot be used.
        """
        request = SynthesisRequest.checked(
            {
                "text": text,
                "ref": None if ref is None else Path(ref),
                "ref_text": ref_text,
                "voice": voice,
                "pipeline": self.pipeline,
                "language": language,
                "speed": speed,
                "steps": steps,
                "guidance": guidance,
                "temperature": temperature,
                "pitch": pitch,
                "duration": duration,
                "candidates": candidates,
                "tempo_ref": None if tempo_ref is None else Path(tempo_ref),
                "seed": seed,
            }
        )
        return self.engine.synthesize(request, progress)

    def stream(
        self,
        text: str,
        ref: str | Path | None = None,
        *,
        ref_text: str | None = None,
        voice: str | None = None,
        language: str = "en-us",
        speed: float | None = None,
        seed: int | None = None,
    ) -> Iterator[Chunk]:
        """Speak like `synthesize`, handing on `samples` at `rate` while the rest is made.

        Raises:
            UserError: something that was given cannot be used.
        """
        content: dict[str, Any] = {
            "text": text,
            "ref": None if ref is None else Path(ref),
            "ref_text": ref_text,
            "voice": voice,
        }
        content |= {"pipeline": self.pipeline, "language": language, "speed": speed, "seed": seed}
        request = SynthesisRequest.checked(content)
        return self.engine.stream(request)
