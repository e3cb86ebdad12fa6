"""The pipeline: text -> phonemes -> semantic tokens -> mel -> waveform, one piece of text at a time.

`Pipeline.stream` is the way from text to sound; `speak` collects it. A piece is made as a whole, checked and made again if
it is faulty, or in spans (streaming.py) where the first sound matters most.

All randomness comes from `generator(seed, stage, piece)`: the same request gives the same samples, and no stage disturbs
another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torchaudio.functional import resample

from speechgen.audio.loudness import normalize_level
from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import generator
from speechgen.core.types import Mel, SemanticTokens, Text, Waveform
from speechgen.pipeline import longform, streaming
from speechgen.pipeline.alignment import Alignment
from speechgen.pipeline.carriers import Chunk, Options, Reference, Speech
from speechgen.pipeline.checks import faults
from speechgen.pipeline.pieces import Piece, cut
from speechgen.pipeline.prompts import prepare_prompt
from speechgen.pipeline.stages import PipelineConfig, Stages
from speechgen.text.phonemes import Phonemizer

__all__ = ["Pipeline"]

SHARE_SEMANTIC, SHARE_ACOUSTIC = 30, 60
"""Parts of 100 that the stages take of a piece's progress."""


@dataclass(frozen=True)
class _Part:
    """Some sound of a piece."""

    samples: Tensor  # [L]
    tokens: SemanticTokens | None = None  # with the last part all of the piece, at the rate at which they are heard
    cut: int = 0  # samples that the piece has lost at its beginning


@dataclass(frozen=True)
class _Voice:
    """Who speaks, and who sets the pace and manner."""

    timbre: Reference
    tempo: Reference


@dataclass(frozen=True)
class _Attempt:
    """A piece, made with the seed that is `number` after the first."""

    number: int
    made: _Part
    faults: list[str]
    fit: float

    @property
    def rank(self) -> tuple[int, float]:
        """Higher is better."""
        return -len(self.faults), self.fit


class Pipeline:
    """Four stages and how they are used. Holds no state between calls but loaded phonemizers."""

    def __init__(self, stages: Stages, config: PipelineConfig) -> None:
        self.stages = stages
        self.config = config
        self._phonemizers: dict[str, Phonemizer] = {}

    def options(
        self, semantic: Mapping[str, Any], acoustic: Mapping[str, Any], *, candidates: int = 1, pitch: float = 0.0
    ) -> Options:
        """Merge a request's options over the pipeline's own.

        Raises:
            UserError: a model has no such option, or its value is out of range.
        """
        stages, config = self.stages, self.config
        sings = "pitch" in stages.vocoder_options.model_fields  # the vocoder moves the pitch itself, and leaves the formants
        vocoder = {**config.vocoder, "pitch": pitch} if sings and pitch else config.vocoder
        return Options(
            validate(stages.semantic_options, {**config.semantic, **semantic}, "option of the semantic model"),
            validate(stages.acoustic_options, {**config.acoustic, **acoustic}, "option of the acoustic model"),
            validate(stages.vocoder_options, vocoder, "option of the vocoder"),
            candidates,
            0.0 if sings else pitch,
        )

    def prepare(self, language: str) -> Phonemizer:
        """Return the phonemizer of a language, loading it on first use.

        Raises:
            UserError: espeak-ng does not know the language.
        """
        if language not in self._phonemizers:
            self._phonemizers[language] = Phonemizer(language)
        return self._phonemizers[language]

    @torch.inference_mode()
    def reference(self, audio: Waveform, name: str = "the reference") -> Reference:
        """Turn a recording into a prompt.

        Raises:
            UserError: it is silent or too short.
        """
        settings = self.stages.mel
        prompt = prepare_prompt(audio, rate=settings.sample_rate, prompt_seconds=self.config.prompt_seconds, name=name)
        audio = prompt.audio.to(self.stages.device)
        return Reference(mel_spectrogram(audio, settings), self.stages.tokenizer.encode(audio), audio.seconds, prompt.warnings)

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
        pieces = tuple(chunk.text for chunk in chunks if chunk.last)
        warnings = tuple(line for chunk in chunks for line in chunk.warnings)
        rate = self.stages.mel.sample_rate
        ends = [0, *accumulate(len(chunk.samples) for chunk in chunks)]
        # Here every chunk is a whole piece.
        alignment = [
            replace(chunk.alignment, start=chunk.alignment.start + begin / rate)
            for chunk, begin in zip(chunks, ends, strict=False)
            if chunk.alignment is not None
        ]
        return Speech(torch.cat([chunk.samples for chunk in chunks]), rate, pieces, warnings, tuple(alignment))

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
        phonemizer = self.prepare(language)
        pieces = cut(text, self.config.max_characters, phonemizer.spoken)
        voice = _Voice(reference, tempo or reference)
        warnings: list[str] = []
        told, spoken = 0, False
        for piece in pieces[first_piece:]:

            def report(done: int, total: int, base: int = 100 * piece.index) -> None:
                if progress:
                    progress(base + 100 * done // max(1, total), 100 * len(pieces))

            try:
                symbols = torch.tensor(phonemizer.vocabulary.encode(phonemizer(piece.text)))  # [S]
            except UserError as error:
                if "[[" in piece.text:  # written on purpose: not to be passed over
                    raise
                warnings.append(str(error))
                continue
            if spans and not options.pitch and options.candidates == 1:
                parts = self._spans(symbols, piece, voice, seed, options, warnings)
            else:
                parts = self._whole(symbols, piece, voice, seed, options, report, warnings)
            for made in self._edged(parts, piece):
                spoken |= bool(made.samples.any())
                news, told = tuple(warnings[told:]), len(warnings)
                yield Chunk(
                    samples=made.samples,
                    rate=self.stages.mel.sample_rate,
                    piece=piece.index,
                    pieces=len(pieces),
                    text=piece.text,
                    last=made.tokens is not None,
                    warnings=news,
                    alignment=self._align(piece, language, symbols, made),
                )
            report(100, 100)
        if not spoken and first_piece == 0:
            raise UserError(warnings[0] if warnings else "there is nothing to speak: give text with a letter or digit")
        if told < len(warnings):
            nothing = torch.zeros(0)
            yield Chunk(nothing, self.stages.mel.sample_rate, len(pieces) - 1, len(pieces), "", False, tuple(warnings[told:]))

    def _edged(self, parts: Iterator[_Part], piece: Piece) -> Iterator[_Part]:
        """Trim and fade where the piece begins and ends, and add its pause."""
        rate, first, lost = self.stages.mel.sample_rate, True, 0
        for part in parts:
            samples = part.samples
            if first and len(samples):
                opened, first = longform.open_piece(samples, rate), False
                samples = torch.cat((torch.zeros(int(piece.lead * rate)), opened))
                lost = len(part.samples) - len(samples)
            samples = samples if part.tokens is None else longform.close_piece(samples, rate, piece.pause)
            yield _Part(samples, part.tokens, lost)

    def _align(self, piece: Piece, language: str, symbols: Tensor, part: _Part) -> Alignment | None:
        """Tell with the last part of a piece where its symbols lie, if the semantic model told how long they last."""
        tokens = part.tokens
        if tokens is None or tokens.durations is None:
            return None
        return Alignment(
            text=piece.text,
            language=language,
            symbols=tuple(self.prepare(language).vocabulary.decode(symbols.tolist())),
            durations=tokens.durations[0].cpu(),
            tokens=tokens.ids[0].cpu(),
            size=tokens.size,
            rate=tokens.rate,
            start=-part.cut / self.stages.mel.sample_rate,
        )

    @torch.inference_mode()
    def _whole(
        self,
        symbols: Tensor,
        piece: Piece,
        voice: _Voice,
        seed: int,
        options: Options,
        report: Progress,
        warnings: list[str],
    ) -> Iterator[_Part]:
        """Make a piece at once: the best of the candidates; if none is without fault, some more."""
        rate, attempts = self.stages.mel.sample_rate, []
        speed = float(getattr(options.semantic, "speed", 1.0))
        tries = max(options.candidates, self.config.max_tries)
        for number in range(tries):
            made = self._make(symbols, piece, voice, seed + number, options, report)
            fit = self._fit(made.samples, symbols) if options.candidates > 1 else 0.0
            attempts.append(_Attempt(number, made, faults(made.samples, rate, len(symbols), speed), fit))
            best = max(attempts, key=lambda attempt: attempt.rank)
            if number + 1 >= options.candidates and not best.faults:
                break
        if best.faults:
            count = "one try" if tries == 1 else f"{tries} tries"
            warnings.append(f"{_excerpt(piece.text)} is {' and '.join(best.faults)} after {count}: try another --seed")
        elif best.number >= options.candidates:
            warnings.append(f"{_excerpt(piece.text)} was faulty at first: spoken again with seed {seed + best.number}")
        yield replace(best.made, samples=longform.limit_peaks(normalize_level(best.made.samples, rate), rate))

    def _make(self, symbols: Tensor, piece: Piece, voice: _Voice, seed: int, options: Options, report: Progress) -> _Part:
        """Run the three models over a piece."""
        stages, timbre = self.stages, voice.timbre

        def part(first: int, share: int) -> Progress:
            return lambda done, total: report(first + share * done // max(1, total), 100)

        ratio = 2 ** (options.pitch / 12)
        tokens = self._tokens(symbols, piece, voice, seed, options, ratio, part(0, SHARE_SEMANTIC))
        if tokens.ids.shape[1] == 0:
            return _Part(torch.zeros(0), tokens)
        mel = stages.acoustic.generate(
            tokens,
            timbre.mel,
            timbre.tokens,
            options=options.acoustic,
            rng=generator(seed, "acoustic", piece.index, device=stages.device),
            progress=part(SHARE_SEMANTIC, SHARE_ACOUSTIC),
        )
        rng = generator(seed, "vocoder", piece.index, device=stages.device)
        audio = stages.vocoder.generate(mel, options=options.vocoder, rng=rng)
        samples = audio.samples[0, : int(audio.lengths[0])].float().cpu()
        # Played faster, as much as it was spoken slower. Rates rounded to 10 Hz keep the filter short.
        samples = resample(samples, 10 * round(audio.rate * ratio / 10), audio.rate) if ratio != 1 else samples
        return _Part(samples, replace(tokens, rate=tokens.rate * ratio))

    def _tokens(
        self, symbols: Tensor, piece: Piece, voice: _Voice, seed: int, options: Options, slower: float, progress: Progress
    ) -> SemanticTokens:
        """What to say, in tokens, `slower` than was asked for; none if the model finds nothing."""
        semantic = options.semantic
        if slower != 1:
            semantic = semantic.model_copy(update={"speed": getattr(semantic, "speed", 1.0) / slower})
        return self.stages.semantic.generate(
            *self._asked(symbols, voice),
            options=semantic,
            rng=generator(seed, "semantic", piece.index, device=self.stages.device),
            progress=progress,
        )

    def _asked(self, symbols: Tensor, voice: _Voice) -> tuple[Text, Mel]:
        """What the semantic model is given."""
        ids = symbols[None].to(self.stages.device)
        return Text(ids, torch.tensor([ids.shape[1]], device=ids.device)), voice.tempo.mel

    def _fit(self, samples: Tensor, symbols: Tensor) -> float:
        """How well the sound fits the text: log probability for each phone by the tokenizer's recogniser; 0 without one."""
        fit = self.stages.tokenizer.fit(Waveform.single(samples, self.stages.mel.sample_rate).to(self.stages.device), symbols)
        return 0.0 if fit is None else fit

    @torch.inference_mode()
    def _spans(
        self, symbols: Tensor, piece: Piece, voice: _Voice, seed: int, options: Options, warnings: list[str]
    ) -> Iterator[_Part]:
        """Make a piece span by span, while the tokens of the rest are still being found."""
        stages, timbre = self.stages, voice.timbre
        growing = stages.semantic.stream(
            *self._asked(symbols, voice),
            options=options.semantic,
            rng=generator(seed, "semantic", piece.index, device=stages.device),
        )
        rng = generator(seed, "vocoder", piece.index, device=stages.device)
        sound = streaming.VocoderStream(stages.vocoder, options.vocoder, rng)
        rng = generator(seed, "acoustic", piece.index, device=stages.device)
        made = timbre.mel.values[:, :0]  # [1, T, M]
        for span in streaming.spans(growing):
            said = streaming.take(span.tokens, 0, span.start)
            mel = stages.acoustic.generate(
                streaming.take(span.tokens, span.start, span.ahead),
                *streaming.behind(timbre.mel, timbre.tokens, made, said),
                options=options.acoustic if span.start else streaming.hurried(options.acoustic),
                rng=rng,
            )
            frames = mel.values[:, : round((span.stop - span.start) * stages.mel.frame_rate / span.tokens.rate)]
            made = torch.cat((made, frames), dim=1)
            yield _Part(sound.push(frames, last=span.last), span.tokens if span.last else None)
        if made.shape[1] == 0:
            warnings.append(f"{_excerpt(piece.text)} was passed over, no sound was found for it: try another --seed")


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
