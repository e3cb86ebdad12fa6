"""Stages that speak through semantic tokens: phonemes -> tokens (how it is said) -> mel (in whose voice) -> waveform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import StrictModel
from speechgen.core.protocols import AcousticModel, SemanticModel, SemanticTokenizer, Vocoder
from speechgen.core.types import Mel, MelSettings, SemanticTokens, Text
from speechgen.pipeline import streaming
from speechgen.pipeline.carriers import Options, Reference
from speechgen.pipeline.prompts import PreparedPrompt
from speechgen.pipeline.speaking import Part, Task, fit_voice, render, slower
from speechgen.text.phonemes import Phonemizer

__all__ = ["TokenStages"]

SHARE_SEMANTIC, SHARE_ACOUSTIC = 30, 60
"""Parts of 100 that the stages take of a piece's progress."""


@dataclass(frozen=True)
class TokenStages:
    """Four models; see `speaking.Stages` for what they promise together."""

    tokenizer: SemanticTokenizer
    semantic: SemanticModel
    acoustic: AcousticModel
    vocoder: Vocoder
    mel: MelSettings
    options: Mapping[str, type[StrictModel]]
    device: torch.device
    usual: Options
    """With these the models speak what is compared with a reference."""
    match: float = 0.0
    """How far what the models make is moved to the statistics of the reference, in [0, 1]."""
    reads_transcripts: bool = False
    sets_duration: bool = False

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.mel.sample_rate

    @property
    def models(self) -> dict[str, object]:
        """By slot."""
        names = ("tokenizer", "semantic", "acoustic", "vocoder")
        return {name: getattr(self, name) for name in names}

    def reference(self, prompt: PreparedPrompt, transcript: str | None, phonemizer: Phonemizer, name: str) -> Reference:
        """Encode a recording; what it says is in its tokens."""
        audio = prompt.audio.to(self.device)
        reference = Reference(
            mel_spectrogram(audio, self.mel), audio.seconds, prompt.warnings, tokens=self.tokenizer.encode(audio)
        )
        return fit_voice(
            lambda task: self._said(task)[1],
            reference,
            prompt.whole,
            phonemizer,
            options=self.usual,
            strength=self.match,
        )

    def room(self, reference: Reference, options: Options, max_characters: int) -> int:
        """The prompt leaves the same room to every text."""
        return max_characters

    def whole(self, task: Task) -> Part:
        """Run the three models over a piece."""
        tokens, mel = self._said(task)
        if mel is None:
            return Part(torch.zeros(0), tokens=tokens)
        samples = render(self.vocoder, task.voice.timbre.matched(mel), task, self.device)
        return Part(samples, tokens=replace(tokens, rate=tokens.rate * task.options.ratio))

    def _said(self, task: Task) -> tuple[SemanticTokens, Mel | None]:
        """The tokens of a piece and its mel, not matched; None if there are none."""
        timbre = task.voice.timbre
        tokens = self.semantic.generate(
            *self._asked(task),
            options=slower(task.options, "semantic"),
            rng=task.rng("semantic", self.device),
            progress=task.share(0, SHARE_SEMANTIC),
        )
        if tokens.ids.shape[1] == 0:
            return tokens, None
        mel = self.acoustic.generate(
            tokens,
            timbre.mel,
            timbre.needed_tokens,
            options=task.options.models["acoustic"],
            rng=task.rng("acoustic", self.device),
            progress=task.share(SHARE_SEMANTIC, SHARE_ACOUSTIC),
        )
        return tokens, mel

    def spans(self, task: Task) -> Iterator[Part]:
        """Speak a piece span by span, while the tokens of the rest are still being found."""
        timbre, options = task.voice.timbre, task.options.models
        semantic, acoustic = task.rng("semantic", self.device), task.rng("acoustic", self.device)
        growing = self.semantic.stream(*self._asked(task), options=options["semantic"], rng=semantic)
        sound = streaming.VocoderStream(self.vocoder, options["vocoder"], task.rng("vocoder", self.device), task.level)
        made = timbre.mel.values[:, :0]  # [1, T, M]
        for span in streaming.spans(growing):
            said = streaming.take(span.tokens, 0, span.start)
            mel = self.acoustic.generate(
                streaming.take(span.tokens, span.start, span.ahead),
                *streaming.behind(timbre.mel, timbre.needed_tokens, made, said),
                options=options["acoustic"] if span.start else streaming.hurried(options["acoustic"]),
                rng=acoustic,
            )
            frames = mel.values[:, : round((span.stop - span.start) * self.mel.frame_rate / span.tokens.rate)]
            made = torch.cat((made, frames), dim=1)
            heard = timbre.matched(replace(mel, values=frames)).values
            yield Part(sound.push(heard, last=span.last), span.last, span.tokens if span.last else None)

    def _asked(self, task: Task) -> tuple[Text, Mel]:
        """What the semantic model is given."""
        return Text.single(task.phonemes, self.device), task.voice.tempo.mel
