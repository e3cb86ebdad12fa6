"""The pipeline: text -> phonemes -> semantic tokens -> mel -> waveform, one piece of text at a time.

All randomness comes from `generator(seed, stage, piece)`: the same request gives the same samples, and no stage disturbs
another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import StrictModel, validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import generator
from speechgen.core.types import Mel, SemanticTokens, Text, Waveform
from speechgen.pipeline import longform
from speechgen.pipeline.prompts import prepare_prompt
from speechgen.pipeline.stages import PipelineConfig, Stages
from speechgen.text.normalize import normalize, speakable
from speechgen.text.phonemes import Phonemizer
from speechgen.text.split import split

__all__ = ["Options", "Pipeline", "Reference", "Speech"]

SHARE_SEMANTIC, SHARE_ACOUSTIC = 30, 60
"""Parts of 100 that the stages take of a piece's progress."""


@dataclass(frozen=True)
class Reference:
    """A prepared prompt: the voice, as the models see it."""

    mel: Mel
    tokens: SemanticTokens
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """Options of both models, checked."""

    semantic: StrictModel
    acoustic: StrictModel


@dataclass(frozen=True)
class Speech:
    """What was spoken."""

    samples: Tensor  # [L]
    rate: int
    pieces: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Piece:
    text: str
    ids: Tensor  # [S]
    index: int  # also tells its randomness from that of other pieces


class Pipeline:
    """Four stages and how they are used. Holds no state between calls but loaded phonemizers."""

    def __init__(self, stages: Stages, config: PipelineConfig) -> None:
        self.stages = stages
        self.config = config
        self._phonemizers: dict[str, Phonemizer] = {}

    def options(self, semantic: Mapping[str, Any], acoustic: Mapping[str, Any]) -> Options:
        """Merge a request's options over the pipeline's own.

        Raises:
            UserError: a model has no such option, or its value is out of range.
        """
        stages, config = self.stages, self.config
        return Options(
            validate(stages.semantic_options, {**config.semantic, **semantic}, "option of the semantic model"),
            validate(stages.acoustic_options, {**config.acoustic, **acoustic}, "option of the acoustic model"),
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

    @torch.inference_mode()
    def speak(
        self, text: str, reference: Reference, *, language: str, seed: int, options: Options, progress: Progress | None = None
    ) -> Speech:
        """Speak `text` of any length in the reference's voice.

        Args:
            text: what to say.
            reference: from `reference()`.
            language: espeak-ng's code, such as "en-us".
            seed: same seed, same samples.
            options: from `options()`.
            progress: called with parts of 100 for every piece.

        Raises:
            UserError: there is nothing to speak, or the language is unknown.
        """
        pieces, warnings = self._pieces(text, language)
        audio: list[Tensor] = []

        def report(done: int, total: int) -> None:
            if progress:
                progress(100 * len(audio) + 100 * done // total, 100 * len(pieces))

        for piece in pieces:
            samples = self._speak_piece(piece, reference, seed, options, report)
            audio.append(longform.limit_peaks(samples.float().cpu(), self.stages.mel.sample_rate))
        rate = self.stages.mel.sample_rate
        pauses = [longform.pause_after(piece.text) for piece in pieces[:-1]]
        samples = longform.fade_edges(longform.join(audio, pauses, rate), rate)
        return Speech(samples, rate, tuple(piece.text for piece in pieces), tuple(warnings))

    def _pieces(self, text: str, language: str) -> tuple[list[_Piece], list[str]]:
        """Split and phonemise; pieces without a sound are left out and reported."""
        phonemizer = self.prepare(language)
        pieces, warnings = [], []
        for part in split(text, self.config.max_characters):
            normal = normalize(part)
            if not speakable(normal):
                continue
            try:
                symbols = phonemizer(normal)
            except UserError as error:
                warnings.append(str(error))
                continue
            pieces.append(_Piece(normal, torch.tensor(phonemizer.vocabulary.encode(symbols)), len(pieces)))
        if not pieces:
            raise UserError(warnings[0] if warnings else "there is nothing to speak: give text with a letter or digit")
        return pieces, warnings

    def _speak_piece(self, piece: _Piece, reference: Reference, seed: int, options: Options, report: Progress) -> Tensor:
        """Return the samples [L] of one piece."""
        stages = self.stages

        def part(first: int, share: int) -> Progress:
            return lambda done, total: report(first + share * done // max(1, total), 100)

        ids = piece.ids[None].to(stages.device)
        text = Text(ids, torch.tensor([ids.shape[1]], device=stages.device))
        tokens = stages.semantic.generate(
            text,
            reference.mel,
            options=options.semantic,
            rng=generator(seed, "semantic", piece.index, device=stages.device),
            progress=part(0, SHARE_SEMANTIC),
        )
        if tokens.ids.shape[1] == 0:
            raise UserError(f"the model found nothing to say for {piece.text!r}: try another --seed or a longer text")
        mel = stages.acoustic.generate(
            tokens,
            reference.mel,
            reference.tokens,
            options=options.acoustic,
            rng=generator(seed, "acoustic", piece.index, device=stages.device),
            progress=part(SHARE_SEMANTIC, SHARE_ACOUSTIC),
        )
        audio = stages.vocoder.generate(mel, rng=generator(seed, "vocoder", piece.index, device=stages.device))
        report(100, 100)
        return audio.samples[0, : int(audio.lengths[0])]
