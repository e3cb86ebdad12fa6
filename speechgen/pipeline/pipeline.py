"""The pipeline: text -> pieces -> sound, one piece at a time, whatever models speak it (see speaking.py).

`Pipeline.stream` is the way from text to sound; `speak` collects it. A piece is made as a whole, checked and made again if
it is faulty, or in spans where the first sound matters most.

All randomness comes from `generator(seed, stage, piece)`: the same request gives the same samples, and no stage disturbs
another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from itertools import count as numbers_from
from typing import Any

import torch
from torch import Tensor

from speechgen.audio.loudness import RunningLevel, normalize_level
from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform
from speechgen.pipeline import longform
from speechgen.pipeline.alignment import Alignment
from speechgen.pipeline.carriers import Chunk, Options, Reference, Speech
from speechgen.pipeline.checks import faults
from speechgen.pipeline.codec_stages import CodecStages
from speechgen.pipeline.hearing import phones_in
from speechgen.pipeline.pieces import BLOCK_CHARACTERS, Piece, cut
from speechgen.pipeline.prompts import prepare_prompt
from speechgen.pipeline.speaking import Part, Stages, Task, Voice
from speechgen.pipeline.stages import PipelineConfig
from speechgen.text.phonemes import Phonemizer

__all__ = ["Pipeline"]

TOGETHER_SECONDS = 30.0
"""Turns and prompts of one generation, at USUAL_PACE (SoundStorm, section 4.5)."""
USUAL_PACE = 15.0
"""Characters a second."""
EDGES_FIT = 8.0
"""Log probability that the edges of a piece may take, whatever its length: recordings of single words lack as much."""


@dataclass(frozen=True)
class _Attempt:
    """A piece, made with the seed that is `number` after the first."""

    number: int
    made: Part
    faults: list[str]
    fit: float

    @property
    def rank(self) -> tuple[int, float]:
        """Higher is better."""
        return -len(self.faults), self.fit


class Pipeline:
    """Stages and how they are used. Holds no state between calls but loaded phonemizers."""

    def __init__(self, stages: Stages, config: PipelineConfig) -> None:
        self.stages = stages
        self.config = config
        self._phonemizers: dict[str, Phonemizer] = {}

    def options(
        self,
        asked: Mapping[str, Any] | None = None,
        *,
        candidates: int = 1,
        pitch: float = 0.0,
        seconds: float | None = None,
    ) -> Options:
        """Merge a request's options over the pipeline's own; each goes to the model that has it.

        Args:
            asked: options of models by name, such as {"steps": 6}; the vocoder's are the pipeline's own.
            candidates: see Options.
            pitch: in semitones.
            seconds: see Options.

        Raises:
            UserError: no model has such an option, or its value is out of range.
        """
        known, config = self.stages.options, self.config
        chosen: dict[str, dict[str, Any]] = {slot: dict(getattr(config, slot)) for slot in known}
        readers = {name: slot for slot in known if slot != "vocoder" for name in known[slot].model_fields}
        for name, value in (asked or {}).items():
            if name not in readers:
                raise UserError(f"no model of this pipeline has the option {name}: they have {', '.join(sorted(readers))}")
            chosen[readers[name]][name] = value
        sings = "vocoder" in known and "pitch" in known["vocoder"].model_fields
        if sings and pitch:
            chosen["vocoder"]["pitch"] = pitch
        if seconds is not None and not self.stages.sets_duration:
            raise UserError("this pipeline speaks as long as its text takes: give a speed instead of a duration")
        if candidates > 1 and self.stages.tokenizer is None:
            raise UserError("this pipeline has no tokenizer to tell candidates apart: ask for one candidate")
        models = {slot: validate(known[slot], values, f"option of the {slot} model") for slot, values in chosen.items()}
        return Options(models, candidates, 0.0 if sings else pitch, seconds)

    def prepare(self, language: str) -> Phonemizer:
        """Return the phonemizer of a language, loading it on first use.

        Raises:
            UserError: espeak-ng does not know the language.
        """
        if language not in self._phonemizers:
            self._phonemizers[language] = Phonemizer(language)
        return self._phonemizers[language]

    @torch.inference_mode()
    def reference(
        self, audio: Waveform, name: str = "the reference", *, transcript: str | None = None, language: str = "en-us"
    ) -> Reference:
        """Turn a recording into a prompt.

        Args:
            audio: one row.
            name: what to call it in messages.
            transcript: what it says, if that is known; only some stages read it.
            language: of the transcript.

        Raises:
            UserError: it is silent or too short, or its text is needed and cannot be had.
        """
        rate, seconds = self.stages.mel.sample_rate, self.config.prompt_seconds
        prompt = prepare_prompt(audio, rate=rate, prompt_seconds=seconds, name=name)
        return self.stages.reference(prompt, transcript, self.prepare(language), name)

    def speak(
        self,
        text: str,
        reference: Reference,
        *,
        language: str,
        seed: int,
        options: Options,
        tempo: Reference | None = None,
        progress: Progress | None = None,
    ) -> Speech:
        """Speak `text` of any length in the reference's voice; see `stream` for the arguments and errors."""
        chunks = list(
            self.stream(text, reference, language=language, seed=seed, options=options, tempo=tempo, progress=progress)
        )
        return self._joined(chunks, [line for chunk in chunks for line in chunk.warnings])

    @property
    def converses(self) -> bool:
        """Whether it can speak for several in one generation."""
        return isinstance(self.stages, CodecStages) and self.stages.speakers > 1

    @torch.inference_mode()
    def converse(
        self,
        texts: Sequence[str],
        references: Sequence[Reference],
        *,
        language: str,
        seeds: Sequence[int],
        options: Options,
        progress: Progress | None = None,
    ) -> list[Speech] | None:
        """Speak the turns of a dialogue together, in generations of at most TOGETHER_SECONDS.

        Args:
            texts: what is said, turn by turn.
            references: who says it; the same object for the same voice.
            language: espeak-ng's code.
            seeds: of each turn; that of the first turn of a generation is also that of its codes.
            options: from `options()`, of all turns.
            progress: called with parts of 100 for every turn.

        Returns:
            A speech for each turn; None if these stages speak for fewer at a time.
        """
        stages = self.stages
        if not isinstance(stages, CodecStages) or len({id(each) for each in references}) > stages.speakers:
            return None
        phonemizer = self.prepare(language)
        numbers = numbers_from(0)
        turns = [
            [replace(piece, index=next(numbers)) for piece in cut(text, self.config.max_characters, phonemizer.spoken)]
            for text in texts
        ]
        total = sum(len(pieces) for pieces in turns)
        notes: list[list[str]] = [[] for _ in texts]
        tasks = [
            Task(
                piece=piece,
                phonemes=torch.tensor(phonemizer.ids(piece.text)),
                voice=Voice(reference, reference),
                seed=seed,
                options=options,
                report=_reporter(progress, piece, total),
                warn=said.append,
            )
            for pieces, reference, seed, said in zip(turns, references, seeds, notes, strict=True)
            for piece in pieces
        ]
        made = [part for group in _groups(tasks) for part in stages.together(group)]
        chunks = iter([self._finished(*each, language, total) for each in zip(tasks, made, strict=True)])
        return [self._joined(list(islice(chunks, len(pieces))), said) for pieces, said in zip(turns, notes, strict=True)]

    def _finished(self, task: Task, made: Part, language: str, pieces: int) -> Chunk:
        """A piece that was made with others: levelled, or spoken alone if it is faulty, and cut at its edges."""
        faulty = self._faults(made.samples, made, task)
        whole = self._whole(replace(task, seed=task.seed + 1)) if faulty else iter([self._levelled(made)])
        (part,) = self._edged(whole, task)
        alignment = self._align(task, language, part)
        return Chunk(part.samples, self.stages.rate, task.piece.index, pieces, task.piece.text, True, alignment=alignment)

    def _joined(self, chunks: Sequence[Chunk], warnings: Sequence[str]) -> Speech:
        """Whole pieces, one behind the other."""
        rate = self.stages.rate
        ends = [0, *accumulate(len(chunk.samples) for chunk in chunks)]
        alignment = [
            replace(chunk.alignment, start=chunk.alignment.start + begin / rate)
            for chunk, begin in zip(chunks, ends, strict=False)
            if chunk.alignment is not None
        ]
        samples = torch.cat([chunk.samples for chunk in chunks])
        texts = tuple(chunk.text for chunk in chunks if chunk.last)
        return Speech(samples, rate, texts, tuple(warnings), tuple(alignment))

    def stream(
        self,
        text: str,
        reference: Reference,
        *,
        language: str,
        seed: int,
        options: Options,
        tempo: Reference | None = None,
        spans: bool = False,
        first_piece: int = 0,
        progress: Progress | None = None,
    ) -> Iterator[Chunk]:
        """Yield the sound of `text` as it is made.

        Args:
            text: what to say, of any length.
            reference: from `reference()`, the voice.
            language: espeak-ng's code, such as "en-us".
            seed: same seed, same samples.
            options: from `options()`.
            tempo: another reference to take pace and manner from.
            spans: hand on parts of a piece, the first after about a second of sound, instead of whole pieces.
            first_piece: pieces before this one are left out.
            progress: called with parts of 100 for every piece.

        Raises:
            UserError: there is nothing to speak, or the language is unknown.
        """
        phonemizer, rate = self.prepare(language), self.stages.rate
        longest = self.stages.room(reference, options, self.config.max_characters)
        warnings: list[str] = []
        told, spoken, index, count, level = 0, False, -1, 0, RunningLevel(rate)
        for piece, count, seconds in _counted(cut(text, longest, phonemizer.spoken), len(text), options.seconds, at_once=spans):
            index = piece.index
            if index < first_piece:
                continue
            report = _reporter(progress, piece, count)
            try:
                phonemes = torch.tensor(phonemizer.ids(piece.text))  # [S]
            except UserError as error:
                if "[[" in piece.text:  # written on purpose: not to be passed over
                    raise
                warnings.append(str(error))
                continue
            task = Task(
                piece=piece,
                phonemes=phonemes,
                voice=Voice(reference, tempo or reference),
                seed=seed,
                options=options,
                report=report,
                warn=warnings.append,
                seconds=seconds,
                level=level,
            )
            parts = self.stages.spans(task) if spans and not options.pitch and options.candidates == 1 else None
            for made in self._edged(self._whole(task) if parts is None else self._in_spans(task, parts), task):
                spoken |= bool(made.samples.any())
                warnings[told:] = [line for line in dict.fromkeys(warnings[told:]) if line not in warnings[:told]]
                news, told = tuple(warnings[told:]), len(warnings)
                yield Chunk(
                    samples=made.samples,
                    rate=rate,
                    piece=index,
                    pieces=count,
                    text=piece.text,
                    last=made.last,
                    warnings=news,
                    alignment=self._align(task, language, made),
                )
            report(100, 100)
        if not spoken and first_piece == 0:
            raise UserError(warnings[0] if warnings else "there is nothing to speak: give text with a letter or digit")
        if told < len(warnings):
            yield Chunk(torch.zeros(0), rate, index, count, "", False, tuple(warnings[told:]))

    def _edged(self, parts: Iterator[Part], task: Task) -> Iterator[Part]:
        """Trim and fade where the piece begins and ends, and add its pause; one that lasts as long as asked is not trimmed."""
        rate, piece, first, lost, handed = self.stages.rate, task.piece, True, 0, 0
        for part in parts:
            samples = part.samples
            if first and len(samples):
                opened = longform.open_piece(samples, rate) if task.seconds is None else longform.fade_in(samples, rate)
                samples, first = torch.cat((torch.zeros(int(piece.lead * rate)), opened)), False
                lost = len(part.samples) - len(samples)
            if part.last and task.seconds is None:
                samples = longform.close_piece(samples, rate, piece.pause)
            elif part.last:
                size = round((piece.lead + task.seconds) * rate) - handed
                samples = longform.end_at(samples, rate, size, piece.pause if piece.paused else 0.0)
            handed += len(samples)
            yield Part(samples, part.last, part.tokens, lost)

    def _align(self, task: Task, language: str, part: Part) -> Alignment | None:
        """Tell with the last part of a piece where its symbols lie, if a model told how long they last."""
        tokens = part.tokens
        if tokens is None or tokens.durations is None:
            return None
        return Alignment(
            text=task.piece.text,
            language=language,
            symbols=tuple(self.prepare(language).vocabulary.decode(task.phonemes.tolist())),
            durations=tokens.durations[0].cpu(),
            tokens=tokens.ids[0].cpu(),
            size=tokens.size,
            rate=tokens.rate,
            start=-part.cut / self.stages.rate,
        )

    @torch.inference_mode()
    def _whole(self, task: Task) -> Iterator[Part]:
        """Make a piece at once: the best of the candidates; if none is without fault, some more."""
        options, attempts = task.options, list[_Attempt]()
        least = self._least_fit(task)
        listens = options.candidates > 1 or least > -math.inf
        tries = max(options.candidates, self.config.max_tries)
        for number in range(tries):
            made = self.stages.whole(replace(task, seed=task.seed + number))
            fit = self._fit(made.samples, task.phonemes) if listens else 0.0
            found = self._faults(made.samples, made, task) + (["unclear"] if fit < least else [])
            attempts.append(_Attempt(number, made, found, fit))
            best = max(attempts, key=lambda attempt: attempt.rank)
            if number + 1 >= options.candidates and not best.faults:
                break
        if best.faults:
            count = "one try" if tries == 1 else f"{tries} tries"
            task.warn(f"{_excerpt(task.piece.text)} is {' and '.join(best.faults)} after {count}: try another --seed")
        elif best.number >= options.candidates:
            task.warn(f"{_excerpt(task.piece.text)} was faulty at first: spoken again with seed {task.seed + best.number}")
        yield self._levelled(best.made)

    def _levelled(self, part: Part) -> Part:
        """A whole piece at the usual level, its peaks limited."""
        rate = self.stages.rate
        return replace(part, samples=longform.limit_peaks(normalize_level(part.samples, rate), rate))

    @torch.inference_mode()
    def _in_spans(self, task: Task, parts: Iterator[Part]) -> Iterator[Part]:
        """Make a piece span by span."""
        heard: list[Tensor] = []
        for part in parts:
            heard.append(part.samples)
            if part.last and (found := self._faults(torch.cat(heard), part, task)):
                task.warn(f"{_excerpt(task.piece.text)} is {' and '.join(found)}: try another --seed")
            yield part
        if not heard:
            task.warn(f"{_excerpt(task.piece.text)} was passed over, no sound was found for it: try another --seed")

    def _faults(self, samples: Tensor, part: Part, task: Task) -> list[str]:
        """What is wrong with a piece [L] that ends with `part`."""
        count = len(task.phonemes) if task.seconds is None else None
        return [*faults(samples, self.stages.rate, count, task.options.speed), *part.faults]

    def _least_fit(self, task: Task) -> float:
        """The fit below which a piece is unclear."""
        if self.config.least_fit is None:
            return -math.inf
        return self.config.least_fit - EDGES_FIT / max(1, phones_in(task.phonemes))

    def _fit(self, samples: Tensor, phonemes: Tensor) -> float:
        """How well the sound fits the text: log probability for each phone by the tokenizer's recogniser; 0 without one."""
        audio = Waveform.single(samples, self.stages.rate).to(self.stages.device)
        fit = None if self.stages.tokenizer is None else self.stages.tokenizer.fit(audio, phonemes)
        return 0.0 if fit is None else fit


def _counted(
    pieces: Iterable[Piece], characters: int, seconds: float | None, *, at_once: bool
) -> Iterator[tuple[Piece, int, float | None]]:
    """Each piece, how many there are, and how many seconds it shall last.

    Args:
        pieces: as they are cut.
        characters: of the text.
        seconds: that all of it shall last, with the pauses that are written; shared out by letters.
        at_once: hand on each while the next are being cut: of a long text only about how many there are is known then, but for
            the last.

    Raises:
        UserError: the pauses alone are longer.
    """
    if seconds is not None or not at_once or characters <= BLOCK_CHARACTERS:
        pieces = list(pieces)
        lengths = [None] * len(pieces) if seconds is None else _lengths(pieces, seconds)
        yield from ((piece, len(pieces), length) for piece, length in zip(pieces, lengths, strict=True))
        return
    before, read = None, 0
    for piece in pieces:
        if before is not None:
            read += len(before.text)
            yield before, max(piece.index + 1, round(piece.index * characters / read)), None
        before = piece
    if before is not None:
        yield before, before.index + 1, None


def _lengths(pieces: Sequence[Piece], seconds: float) -> list[float]:
    silence, letters = sum(piece.written for piece in pieces), sum(len(piece.text) for piece in pieces)
    if silence >= seconds:
        raise UserError(f"the pauses in the text alone last {silence:g} s, and all of it shall last {seconds:g} s")
    return [(seconds - silence) * len(piece.text) / letters for piece in pieces]


def _reporter(progress: Progress | None, piece: Piece, pieces: int) -> Progress:
    """Progress of one piece as progress of all, 100 parts each."""

    def report(done: int, total: int) -> None:
        if progress:
            progress(100 * piece.index + 100 * done // max(1, total), 100 * pieces)

    return report


def _groups(tasks: Sequence[Task]) -> list[list[Task]]:
    """Consecutive turns that are short enough, with the prompts of those who speak, for one generation."""
    groups: list[list[Task]] = [[]]
    for task in tasks:
        longer = [*groups[-1], task]
        prompts = {id(each.voice.timbre): each.voice.timbre.seconds for each in longer}
        said = sum(len(each.piece.text) for each in longer) / (USUAL_PACE * task.options.speed)
        if groups[-1] and said + sum(prompts.values()) > TOGETHER_SECONDS:
            groups.append([task])
        else:
            groups[-1] = longer
    return groups


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
