"""Stages that speak from characters: text and the reference's own text -> mel behind the reference's mel -> waveform.

The model continues a recording whose text it is told, so that what it is told must be what the recording says: where a
recording was shortened its text is, too, and what nobody told is heard (hearing.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.protocols import SemanticTokenizer, TextToMel, Vocoder
from speechgen.core.types import Mel, MelSettings, Text
from speechgen.pipeline.carriers import Options, Reference
from speechgen.pipeline.hearing import Hear, told_text
from speechgen.pipeline.prompts import PreparedPrompt
from speechgen.pipeline.speaking import Part, Task, fit_voice, render, slower
from speechgen.text.characters import CharacterReader, Written, spoken_bytes
from speechgen.text.phonemes import Phonemizer

__all__ = ["TextStages"]

SHARE_MEL = 90
"""Parts of 100 that the model takes of a piece's progress."""
LONGEST_SECONDS = 22.0
"""Reference and piece together: what published models speak well (F5's own limit)."""
USUAL_PACE = 15.0
"""Bytes of English a second, where a reference's own pace is not known."""


@dataclass(frozen=True)
class TextStages:
    """A model that reads characters and a vocoder; see `speaking.Stages` for what they promise together.

    Attributes:
        usual: with these the models speak what is compared with a reference.
        match: how far the mel is moved to the statistics of the reference, in [0, 1].
        tokenizer: tells candidates apart, and whether a text is that of a recording; may be missing.
        hear: writes down what a reference says; None if nobody can.
    """

    text_to_mel: TextToMel
    vocoder: Vocoder
    mel: MelSettings
    options: Mapping[str, type[StrictModel]]
    device: torch.device
    usual: Options
    match: float = 0.0
    tokenizer: SemanticTokenizer | None = None
    hear: Hear | None = None
    reads_transcripts: bool = True
    sets_duration: bool = True
    read: CharacterReader = field(init=False)

    def __post_init__(self) -> None:
        reader = CharacterReader(self.text_to_mel.vocabulary, segments=self.text_to_mel.segmented)
        object.__setattr__(self, "read", reader)

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.mel.sample_rate

    @property
    def models(self) -> dict[str, object]:
        """By slot."""
        found = {"tokenizer": self.tokenizer, "text_to_mel": self.text_to_mel, "vocoder": self.vocoder}
        return {name: model for name, model in found.items() if model is not None}

    def reference(self, prompt: PreparedPrompt, transcript: str | None, phonemizer: Phonemizer, name: str) -> Reference:
        """Turn a prepared recording into a prompt with its text.

        Raises:
            UserError: the text is not known and cannot be heard, or has nothing in it that the model can read.
        """
        written, notes = told_text(
            prompt,
            transcript,
            name,
            tokenizer=self.tokenizer,
            hear=self.hear,
            phonemizer=phonemizer,
            needed=self.text_to_mel.reads_prompt_text,
        )
        if self.text_to_mel.reads_prompt_text and not self.read(written).ids:
            raise UserError(f"nothing in the text of {name} can be read by this pipeline: give what it says by --ref-text")
        audio = prompt.audio.to(self.device)
        mel, warnings = mel_spectrogram(audio, self.mel), (*prompt.warnings, *notes)
        reference = Reference(mel, audio.seconds, warnings, transcript=written)
        return fit_voice(self._said, reference, prompt.whole, phonemizer, options=self.usual, strength=self.match)

    def room(self, reference: Reference, options: Options, max_characters: int) -> int:
        """What the reference leaves of LONGEST_SECONDS, at its own pace."""
        said = len((reference.transcript or "").encode())
        pace = said / reference.seconds if said else USUAL_PACE
        left = (LONGEST_SECONDS - reference.seconds) * pace * options.speed
        return min(max_characters, max(20, int(left)))

    def whole(self, task: Task) -> Part:
        """Run both models over a piece."""
        mel = self._said(task)
        return Part(torch.zeros(0) if mel is None else render(self.vocoder, task.voice.timbre.matched(mel), task, self.device))

    def _said(self, task: Task) -> Mel | None:
        """The mel of a piece, not matched; None for one without sound."""
        reference, device = task.voice.timbre, self.device
        text, said = self.read(task.piece.text), self.read(reference.transcript or "")
        if text.missing:
            task.warn(f"this pipeline has no symbol for {text.missing!r}: left out")
        if not text.ids:
            return None
        return self.text_to_mel.generate(
            Text.single(text.ids, device),
            reference.mel,
            Text.single(said.ids, device),
            frames=self._frames(task, text),
            options=slower(task.options, "text_to_mel"),
            rng=task.rng("text_to_mel", device),
            progress=task.share(0, SHARE_MEL),
        )

    def _frames(self, task: Task, text: Written) -> int | None:
        """How long the piece takes, if that is asked for or another recording sets the pace; None: as the reference would."""
        tempo, options = task.voice.tempo, task.options
        seconds = task.seconds
        if seconds is None and tempo is not task.voice.timbre and tempo.transcript:
            own, theirs = (self._bytes(written) for written in (text, self.read(tempo.transcript)))
            seconds = tempo.seconds * own / max(1, theirs) / options.speed
        return None if seconds is None else max(1, round(seconds * options.ratio * self.mel.frame_rate))

    def _bytes(self, written: Written) -> int:
        return spoken_bytes([self.text_to_mel.vocabulary[index] for index in written.ids])

    def spans(self, task: Task) -> None:
        """All frames of a piece are made at once: there is nothing to hand on before."""
