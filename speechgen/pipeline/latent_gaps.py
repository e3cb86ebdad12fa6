"""Filling gaps by way of continuous latents: both sides are seen from the first block on, and the length is given."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.protocols import InfillingTextToLatents, Progress
from speechgen.core.random import generator
from speechgen.core.types import Latents, Mel, Text, Waveform
from speechgen.pipeline.carriers import Options
from speechgen.pipeline.gaps import Gap, rendered
from speechgen.pipeline.hearing import count_phones, phones_in
from speechgen.pipeline.latent_stages import LatentStages, pace_of, usual_seconds
from speechgen.text.phonemes import Phonemizer

__all__ = ["LatentFiller"]

REFERENCE_SECONDS = 3.0
"""How much of the recording a model whose prompts are untold hears in front, as in training."""


class LatentFiller:
    """Fills gaps with a model that makes latents between known ones."""

    def __init__(self, stages: LatentStages, options: Options, phonemizer: Phonemizer) -> None:
        self._stages, self._options, self._phonemizer = stages, options.models, phonemizer
        self._model = cast(InfillingTextToLatents, stages.text_to_latents)
        self.sample_rate = stages.mel.sample_rate
        self.step_samples = stages.autoencoder.frames * stages.mel.hop_samples

    @torch.inference_mode()
    def fill(self, gap: Gap, *, seed: int, progress: Progress | None = None) -> tuple[Mel, Mel, Mel]:
        """Return the mels left of the gap, inside it and right of it."""
        stages = self._stages
        left, right = self._side(gap.audio, 0, gap.start), self._side(gap.audio, gap.stop, gap.audio.samples.shape[1])
        around = torch.cat((left[1].values, right[1].values), dim=1)
        shown = _latents(around[:, : round(REFERENCE_SECONDS * self._model.rate)], self._model.rate)
        change, known = gap.change, bool(gap.change.before or gap.change.behind)
        # Sides whose words are not known cannot be told to the model: then they are its voice alone.
        sides = [side[1] if known else _latents(side[1].values[:, :0], self._model.rate) for side in (left, right)]
        said = " ".join(filter(None, (*(word.text for word in change.before), change.text, *(w for w, _ in change.behind))))
        options = self._options["text_to_latents"]
        made = self._model.infill(
            self._text(said if known else change.text),
            *sides,
            reference=shown,
            count=max(1, round(self._seconds(gap) / getattr(options, "speed", 1.0) * self._model.rate)),
            options=options,
            rng=generator(seed, "text_to_latents", 0, device=stages.device),
            progress=progress,
        )
        joined = _latents(torch.cat((left[1].values, made.values), dim=1), self._model.rate)
        frames = stages.autoencoder.decode(joined).values[:, left[1].values.shape[1] * stages.autoencoder.frames :]
        return left[0], Mel(frames, torch.tensor([frames.shape[1]], device=frames.device), stages.mel), right[0]

    @torch.inference_mode()
    def render(self, mel: Mel, seed: int) -> Tensor:
        """Return the sound of a mel, [T * hop]."""
        return rendered(
            self._stages.vocoder, mel, self._options["vocoder"], generator(seed, "vocoder", 0, device=self._stages.device)
        )

    def _side(self, audio: Waveform, start: int, stop: int) -> tuple[Mel, Latents]:
        """Mel and latents of whole steps between two samples; computed with the sound around, which windows reach into."""
        lead = start % self.step_samples
        mel = mel_spectrogram(Waveform.single(audio.samples[0, lead:], audio.rate), self._stages.mel)
        latents = self._stages.autoencoder.encode(mel)
        first, count = (start - lead) // self.step_samples, (stop - start) // self.step_samples
        size = self._stages.autoencoder.frames
        frames = mel.values[:, first * size : (first + count) * size]
        lengths = torch.full((1,), frames.shape[1], device=frames.device)
        return Mel(frames, lengths, mel.settings), _latents(latents.values[:, first : first + count], latents.rate)

    def _seconds(self, gap: Gap) -> float:
        """How long the new words take at the pace of those around, or of what is heard."""
        words = (*gap.change.before, *gap.change.old, *gap.change.after)
        if words:
            pace = pace_of(self._phones(" ".join(word.text for word in words)), words[-1].stop - words[0].start)
        else:
            tokenizer = self._stages.tokenizer
            pace = pace_of(None if tokenizer is None else count_phones(tokenizer, gap.audio), gap.audio.seconds)
        return usual_seconds(self._text(gap.change.text).ids[0], pace)

    def _phones(self, text: str) -> int:
        return phones_in(self._text(text).ids[0])

    def _text(self, text: str) -> Text:
        return Text.single(self._phonemizer.ids(text), self._stages.device)


def _latents(values: Tensor, rate: float) -> Latents:
    return Latents(values, torch.tensor([values.shape[1]], device=values.device), rate)
