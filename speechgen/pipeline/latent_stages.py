"""Stages that speak through continuous latents: phonemes -> latents, left to right -> mel -> waveform.

How long a piece takes is reckoned from how many phones a second the reference has, by its text or as the tokenizer hears it.
A model that sets durations takes exactly so long; another ends by itself, at the latest when its options say. Sound is handed
on as the latents come: the autoencoder sees nothing ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.protocols import Autoencoder, LatentPart, SemanticTokenizer, TextToLatents, Vocoder
from speechgen.core.types import Latents, Mel, MelSettings, Text
from speechgen.pipeline.carriers import Options, Reference
from speechgen.pipeline.hearing import Hear, count_phones, phones_in, told_text
from speechgen.pipeline.prompts import PreparedPrompt
from speechgen.pipeline.speaking import Part, Task, fit_voice, render, slower
from speechgen.pipeline.streaming import VocoderStream
from speechgen.text.phonemes import Phonemizer

__all__ = ["LatentStages", "MelStream", "pace_of", "usual_seconds"]

SHARE_LATENTS = 90
"""Parts of 100 that the model takes of a piece's progress."""
USUAL_PACE = 10.0
"""Phones a second, where a reference's own pace is not known."""
PACE_LIMITS = (7.0, 15.0)
LEAST_SECONDS = 0.4
"""Of a piece, with the silence around it, however short its text."""
MOST_SYMBOLS = 40.0
"""A second."""
POOR_FIT = -3.0
"""Log probability by phone below which a text is not that of its recording."""


@dataclass(frozen=True)
class LatentStages:
    """A model that makes latents, the autoencoder that decodes them, a vocoder; see `speaking.Stages` for what they promise.

    Attributes:
        usual: with these the models speak what is compared with a reference.
        match: how far the mel is moved to the statistics of the reference, in [0, 1].
        tokenizer: hears how fast a reference speaks, tells candidates apart, finds words for editing; may be missing.
        hear: writes down what a reference says; None if nobody can.
    """

    text_to_latents: TextToLatents
    autoencoder: Autoencoder
    vocoder: Vocoder
    mel: MelSettings
    options: Mapping[str, type[StrictModel]]
    device: torch.device
    usual: Options
    match: float = 0.0
    tokenizer: SemanticTokenizer | None = None
    hear: Hear | None = None

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.mel.sample_rate

    @property
    def models(self) -> dict[str, object]:
        """By slot."""
        names = ("tokenizer", "text_to_latents", "autoencoder", "vocoder")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def reads_transcripts(self) -> bool:
        """Whether what a reference says is used."""
        return self.text_to_latents.reads_prompt_text

    @property
    def sets_duration(self) -> bool:
        """Whether a piece can be made to last as long as a task says."""
        return self.text_to_latents.sets_duration

    def reference(self, prompt: PreparedPrompt, transcript: str | None, phonemizer: Phonemizer, name: str) -> Reference:
        """Turn a prepared recording into a prompt that knows its pace, and its symbols if the model reads them.

        Raises:
            UserError: its text is needed and neither known nor heard, or has no word.
        """
        audio, warnings = prompt.audio.to(self.device), list(prompt.warnings)
        mel = mel_spectrogram(audio, self.mel)
        if not self.reads_transcripts:
            heard = None if self.tokenizer is None else count_phones(self.tokenizer, audio)
            reference = Reference(mel, audio.seconds, tuple(warnings), pace=pace_of(heard, audio.seconds))
            return self._fitted(reference, prompt, phonemizer)
        text, notes = told_text(prompt, transcript, name, tokenizer=self.tokenizer, hear=self.hear, phonemizer=phonemizer)
        if not text:
            raise UserError(f"no word is known of what {name} says: give its text by --ref-text")
        symbols = torch.tensor(phonemizer.ids(text))
        fit = None if self.tokenizer is None else self.tokenizer.fit(audio, symbols)
        if fit is not None and fit < POOR_FIT:
            notes.append(f"{name} does not seem to say {text!r} (log probability by phone {fit:.1f}): check its text")
        pace = pace_of(phones_in(symbols), audio.seconds)
        reference = Reference(mel, audio.seconds, (*warnings, *notes), transcript=text, symbols=symbols, pace=pace)
        return self._fitted(reference, prompt, phonemizer)

    def _fitted(self, reference: Reference, prompt: PreparedPrompt, phonemizer: Phonemizer) -> Reference:
        return fit_voice(self._said, reference, prompt.whole, phonemizer, options=self.usual, strength=self.match)

    def _said(self, task: Task) -> Mel:
        """The mel of a piece, not matched."""
        return self.autoencoder.decode(self.latents(task))

    def room(self, reference: Reference, options: Options, max_characters: int) -> int:
        """The prompt leaves the same room to every text."""
        return max_characters

    def whole(self, task: Task) -> Part:
        """Run all models over a piece."""
        latents, faults = self._made(task)
        mel = task.voice.timbre.matched(self.autoencoder.decode(latents))
        return Part(render(self.vocoder, mel, task, self.device), faults=faults)

    def latents(self, task: Task) -> Latents:
        """Make the latents of a piece."""
        return self._made(task)[0]

    def _made(self, task: Task) -> tuple[Latents, tuple[str, ...]]:
        """Latents of a piece, and what is known to be wrong with them."""
        parts = []
        for part in self._parts(task, slower(task.options, "text_to_latents")):
            parts.append(part.values)
            task.share(0, SHARE_LATENTS)(round(1000 * part.done), 1000)
        values = torch.cat(parts, dim=1)
        return Latents(values, _size(values), self.autoencoder.rate), _faults(part)

    def spans(self, task: Task) -> Iterator[Part]:
        """Speak a piece patch by patch, or block by block, as the model makes them."""
        options = task.options.models
        sound = VocoderStream(self.vocoder, options["vocoder"], task.rng("vocoder", self.device), task.level)
        decoder = MelStream(self.autoencoder)
        for part in self._parts(task, options["text_to_latents"]):
            mel = task.voice.timbre.matched(decoder.push(part.values))
            samples = sound.push(mel.values, last=part.last)
            if part.last or len(samples):
                yield Part(samples, part.last, faults=_faults(part))

    def _parts(self, task: Task, options: StrictModel) -> Iterator[LatentPart]:
        """What the model makes of a piece."""
        timbre, text = task.voice.timbre, Text.single(task.phonemes, self.device)
        if task.seconds is not None and hasattr(options, "speed"):
            options = options.model_copy(update={"speed": 1.0})
        return self.text_to_latents.stream(
            text,
            self.autoencoder.encode(timbre.mel),
            Text.single([] if timbre.symbols is None else timbre.symbols, self.device),
            count=self.expected(task),
            options=options,
            rng=task.rng("text_to_latents", self.device),
        )

    def expected(self, task: Task) -> int:
        """Latents that the piece takes at speed 1: as long as it was asked to, or at the pace of the reference."""
        if task.seconds is not None:
            seconds = task.seconds * task.options.ratio
        else:
            seconds = max(LEAST_SECONDS, usual_seconds(task.phonemes, task.voice.tempo.pace, task.options.speed))
        return max(1, round(seconds * self.autoencoder.rate))


class MelStream:
    """Decodes latents that grow; what was decoded never changes."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        self._autoencoder = autoencoder
        self._recent: Tensor | None = None  # [1, <= reach, D]

    def push(self, values: Tensor) -> Mel:
        """Add latents [1, T, D]; return their T * frames frames."""
        window = values if self._recent is None else torch.cat((self._recent, values), dim=1)
        mel: Mel = self._autoencoder.decode(Latents(window, _size(window), self._autoencoder.rate))
        self._recent = window[:, max(0, window.shape[1] - self._autoencoder.reach) :]
        count = values.shape[1] * self._autoencoder.frames
        return replace(mel, values=mel.values[:, mel.values.shape[1] - count :], lengths=torch.full_like(mel.lengths, count))


def usual_seconds(symbols: Tensor, pace: float | None, speed: float = 1.0) -> float:
    """Seconds that symbols take at speed 1 and a pace in phones a second, and no fewer than leave them audible at `speed`."""
    return max(phones_in(symbols) / (pace or USUAL_PACE), speed * len(symbols) / MOST_SYMBOLS)


def pace_of(phones: float | None, seconds: float) -> float | None:
    """Phones a second, within what people speak; None if it is not known."""
    return None if not phones else min(PACE_LIMITS[1], max(PACE_LIMITS[0], phones / seconds))


def _faults(part: LatentPart) -> tuple[str, ...]:
    return ("without an end",) if part.ran_on else ()


def _size(values: Tensor) -> Tensor:
    return torch.tensor([values.shape[1]], device=values.device)
