"""Stages that speak through codes: phonemes -> semantic tokens -> a codec's codes in the prompt's voice -> waveform.

The codec decodes what was made behind the end of the prompt, so that it begins as if it had gone on. Where the codes are those
of a mel, a vocoder can render them instead, and the voice be matched as it is in speaking by a mel. Several turns of a
dialogue can be made in one generation, in which each speaker hears what the others say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.protocols import (
    AcousticCodesModel,
    Codec,
    DialogueModel,
    MelCoder,
    SemanticModel,
    SemanticTokenizer,
    Vocoder,
)
from speechgen.core.types import CodecTokens, Mel, MelSettings, SemanticTokens, Text
from speechgen.pipeline.carriers import Options, Reference
from speechgen.pipeline.prompts import PreparedPrompt
from speechgen.pipeline.speaking import Part, Task, at_pitch, fit_voice, render, slower
from speechgen.text.phonemes import Phonemizer

__all__ = ["CodecStages", "decode_behind"]

SHARE_SEMANTIC, SHARE_ACOUSTIC = 30, 60
"""Parts of 100 that the stages take of a piece's progress."""
CONTEXT_SECONDS = 1.0
"""How much of the prompt is decoded before what is to be heard."""


@dataclass(frozen=True)
class CodecStages:
    """Four models, and a fifth if it is given; see `speaking.Stages` for what they promise together."""

    tokenizer: SemanticTokenizer
    semantic: SemanticModel
    acoustic: AcousticCodesModel
    codec: Codec
    mel: MelSettings
    options: Mapping[str, type[StrictModel]]
    device: torch.device
    usual: Options
    """With these the models speak what is compared with a reference."""
    vocoder: Vocoder | None = None
    """Renders the codec's mel in the codec's place; then that is a MelCoder."""
    match: float = 0.0
    """How far its mel is moved to the statistics of the reference, in [0, 1]."""
    reads_transcripts: bool = False
    sets_duration: bool = False

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.codec.sample_rate if self.vocoder is None else self.mel.sample_rate

    @property
    def models(self) -> dict[str, object]:
        """By slot."""
        names = ("tokenizer", "semantic", "acoustic", "codec", "vocoder")
        return {name: model for name in names if (model := getattr(self, name)) is not None}

    @property
    def speakers(self) -> int:
        """How many can speak in one generation."""
        return getattr(self.acoustic, "speakers", 1)

    def reference(self, prompt: PreparedPrompt, transcript: str | None, phonemizer: Phonemizer, name: str) -> Reference:
        """Encode a recording; what it says is in its tokens."""
        audio = prompt.audio.to(self.device)
        reference = Reference(
            mel_spectrogram(audio, self.mel),
            audio.seconds,
            prompt.warnings,
            tokens=self.tokenizer.encode(audio),
            codes=self.codec.encode(audio),
        )
        return fit_voice(self._said, reference, prompt.whole, phonemizer, options=self.usual, strength=self.match)

    def room(self, reference: Reference, options: Options, max_characters: int) -> int:
        """The prompt leaves the same room to every text."""
        return max_characters

    def whole(self, task: Task) -> Part:
        """Run the three models over a piece."""
        tokens = self._tokens(task)
        if tokens.ids.shape[1] == 0:
            return Part(torch.zeros(0), tokens=tokens)
        return self._heard(task, tokens, self._codes(task, tokens))

    def together(self, tasks: Sequence[Task]) -> list[Part]:
        """Speak the turns of a dialogue, one task each, in one generation; voices are told apart by their references.

        Raises:
            UserError: there are more voices than the model holds apart.
        """
        voices = list({id(task.voice.timbre): task.voice.timbre for task in tasks}.values())
        if len(voices) > self.speakers:
            raise UserError(
                f"this pipeline speaks for {self.speakers} in one generation, not for {len(voices)}: speak turn by turn"
            )
        numbers = [next(n for n, voice in enumerate(voices) if voice is task.voice.timbre) for task in tasks]
        said = [self._tokens(task) for task in tasks]
        made = cast(DialogueModel, self.acoustic).converse(
            list(zip(numbers, said, strict=True)),
            [voice.needed_codes for voice in voices],
            [voice.needed_tokens for voice in voices],
            options=tasks[0].options.models["acoustic"],
            rng=tasks[0].rng("acoustic", self.device),
            progress=tasks[0].share(SHARE_SEMANTIC, SHARE_ACOUSTIC),
        )
        return [self._heard(*each) for each in zip(tasks, said, made, strict=True)]

    def spans(self, task: Task) -> None:
        """All codes of a piece are made at once: there is nothing to hand on before."""

    def _tokens(self, task: Task) -> SemanticTokens:
        return self.semantic.generate(
            Text.single(task.phonemes, self.device),
            task.voice.tempo.mel,
            options=slower(task.options, "semantic"),
            rng=task.rng("semantic", self.device),
            progress=task.share(0, SHARE_SEMANTIC),
        )

    def _codes(self, task: Task, tokens: SemanticTokens) -> CodecTokens:
        timbre = task.voice.timbre
        return self.acoustic.generate(
            tokens,
            timbre.needed_codes,
            timbre.needed_tokens,
            options=task.options.models["acoustic"],
            rng=task.rng("acoustic", self.device),
            progress=task.share(SHARE_SEMANTIC, SHARE_ACOUSTIC),
        )

    def _said(self, task: Task) -> Mel | None:
        """The mel of a piece, not matched; None for one without sound."""
        tokens = self._tokens(task)
        return self._mel(task, self._codes(task, tokens)) if tokens.ids.shape[1] else None

    def _mel(self, task: Task, codes: CodecTokens) -> Mel:
        """Decode codes behind the end of their prompt: the mel of the codes alone."""
        joined, context = _behind(task.voice.timbre.needed_codes, codes)
        mel = cast(MelCoder, self.codec).decode_mel(joined)
        skipped = round(context * mel.settings.frame_rate / codes.rate)
        return replace(mel, values=mel.values[:, skipped:], lengths=mel.lengths - skipped)

    def _heard(self, task: Task, tokens: SemanticTokens, codes: CodecTokens) -> Part:
        """Render the codes behind the end of their prompt; no samples for none."""
        timbre = task.voice.timbre
        if tokens.ids.shape[1] == 0:
            return Part(torch.zeros(0), tokens=tokens)
        if self.vocoder is None:
            samples = decode_behind(self.codec, timbre.needed_codes, codes)
            spoken = at_pitch(samples, self.rate, task.options.ratio)
        else:
            spoken = render(self.vocoder, timbre.matched(self._mel(task, codes)), task, self.device)
        return Part(spoken, tokens=replace(tokens, rate=tokens.rate * task.options.ratio))


def decode_behind(codec: Codec, prompt: CodecTokens, codes: CodecTokens) -> Tensor:
    """Decode codes behind the end of their prompt: samples [L] of the codes alone, on the CPU."""
    joined, context = _behind(prompt, codes)
    return codec.decode(joined).samples[0][round(context * codec.sample_rate / codes.rate) :].float().cpu()


def _behind(prompt: CodecTokens, codes: CodecTokens) -> tuple[CodecTokens, int]:
    """Return the end of the prompt with the codes behind it, and how many frames of it there are."""
    context = min(prompt.ids.shape[2], round(CONTEXT_SECONDS * codes.rate))
    before = prompt.ids[:, : codes.ids.shape[1], prompt.ids.shape[2] - context :]
    ids = torch.cat((before, codes.ids), dim=2)
    return replace(codes, ids=ids, lengths=torch.full_like(codes.lengths, ids.shape[2])), context
