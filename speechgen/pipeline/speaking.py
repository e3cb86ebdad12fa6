"""What the pipeline asks of its stages, whichever they are: a piece of text, spoken by somebody, as sound.

Pipelines differ in what lies between text and waveform; this is the joint. `Stages` is implemented by token_stages (phonemes ->
semantic tokens -> mel -> waveform), codec_stages (phonemes -> semantic tokens -> codes -> waveform), latent_stages (phonemes ->
latents -> mel -> waveform) and text_stages (characters -> mel -> waveform).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torchaudio.functional import resample

from speechgen.audio.loudness import RunningLevel
from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import StrictModel
from speechgen.core.protocols import Progress, SemanticTokenizer, Vocoder
from speechgen.core.random import generator
from speechgen.core.types import Mel, MelSettings, SemanticTokens, Waveform
from speechgen.pipeline.carriers import Options, Reference
from speechgen.pipeline.matching import RECORDED_SECONDS, SENTENCES, fit_match
from speechgen.pipeline.pieces import Piece
from speechgen.pipeline.prompts import PreparedPrompt
from speechgen.text.phonemes import Phonemizer

__all__ = ["Part", "Stages", "Task", "Voice", "at_pitch", "fit_voice", "render", "slower"]


@dataclass(frozen=True)
class Voice:
    """Who speaks, and who sets the pace and manner."""

    timbre: Reference
    tempo: Reference


@dataclass(frozen=True)
class Task:
    """A piece of text to be spoken once.

    Attributes:
        piece: the text.
        phonemes: its phoneme symbols, [S] int64 on the CPU.
        voice: who speaks.
        seed: all randomness comes from `generator(seed, stage, piece.index)`.
        options: from `Pipeline.options`.
        report: told of progress, in any unit.
        warn: told what the user should know.
        seconds: how long the piece shall last; None: as long as it takes.
        level: of what was streamed before it, and then of this; None if nothing is.
    """

    piece: Piece
    phonemes: Tensor
    voice: Voice
    seed: int
    options: Options
    report: Progress
    warn: Callable[[str], None]
    seconds: float | None = None
    level: RunningLevel | None = None

    def rng(self, stage: str, device: torch.device) -> torch.Generator:
        """The randomness of a stage."""
        return generator(self.seed, stage, self.piece.index, device=device)

    def share(self, first: int, percent: int) -> Progress:
        """Progress of a stage that takes `percent` of the work, `first` of it being done before."""
        return lambda done, total: self.report(first + percent * done // max(1, total), 100)


@dataclass(frozen=True)
class Part:
    """Some sound of a piece.

    Attributes:
        samples: [L] on the CPU.
        last: whether it ends the piece.
        tokens: with the last part all of the piece, at the rate at which they are heard, if the stages speak from tokens.
        cut: samples that the piece has lost at its beginning.
        faults: what the models that made it know to be wrong with the piece, in a few words each.
    """

    samples: Tensor
    last: bool = True
    tokens: SemanticTokens | None = None
    cut: int = 0
    faults: tuple[str, ...] = ()


class Stages(Protocol):
    """Loaded models that fit together."""

    @property
    def mel(self) -> MelSettings:
        """What the prompt is given as."""
        ...

    @property
    def rate(self) -> int:
        """Samples per second of the sound."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        ...

    @property
    def models(self) -> Mapping[str, object]:
        """Every model by its slot, for those who measure them."""
        ...

    @property
    def options(self) -> Mapping[str, type[StrictModel]]:
        """What each model lets a request change, by its slot."""
        ...

    @property
    def tokenizer(self) -> SemanticTokenizer | None:
        """Tells how well sound fits a text; None if the pipeline has none."""
        ...

    @property
    def reads_transcripts(self) -> bool:
        """Whether what a reference says is used."""
        ...

    @property
    def sets_duration(self) -> bool:
        """Whether a piece can be made to last as long as a task says."""
        ...

    def reference(self, prompt: PreparedPrompt, transcript: str | None, phonemizer: Phonemizer, name: str) -> Reference:
        """Turn a prepared recording, and what it says if that is known, into a prompt; messages call it `name`."""
        ...

    def room(self, reference: Reference, options: Options, max_characters: int) -> int:
        """Return how long a piece may be, in characters: `max_characters` or less."""
        ...

    def whole(self, task: Task) -> Part:
        """Speak a piece at once; no samples for a piece without sound."""
        ...

    def spans(self, task: Task) -> Iterator[Part] | None:
        """Speak a piece part by part, nothing for a piece without sound; None if it can only be spoken at once."""
        ...


def slower(options: Options, slot: str) -> StrictModel:
    """The options of the model that sets the tempo, for sound that `render` will play faster."""
    asked = options.models[slot]
    if options.pitch == 0:
        return asked
    return asked.model_copy(update={"speed": getattr(asked, "speed", 1.0) / options.ratio})


def render(vocoder: Vocoder, mel: Mel, task: Task, device: torch.device) -> Tensor:
    """Return the samples [L] of one row of mel on the CPU, their pitch moved."""
    audio = vocoder.generate(mel, options=task.options.models["vocoder"], rng=task.rng("vocoder", device))
    samples = audio.samples[0, : int(audio.lengths[0])].float().cpu()
    return at_pitch(samples, audio.rate, task.options.ratio)


def fit_voice(
    say: Callable[[Task], Mel | None],
    reference: Reference,
    recording: Waveform,
    phonemizer: Phonemizer,
    *,
    options: Options,
    strength: float,
) -> Reference:
    """Let the models say SENTENCES in a voice, and return its reference with the map from that to its recording.

    Args:
        say: makes the mel of a piece, not matched; None for one without sound.
        reference: the voice, as the models see it.
        recording: of the voice; its first RECORDED_SECONDS count.
        phonemizer: reads the sentences.
        options: with which the models speak.
        strength: how far to go, in [0, 1]; 0 leaves the reference as it is, and nothing is said.
    """
    if not strength:
        return reference
    device, voice = reference.mel.values.device, Voice(reference, reference)
    heard = recording.samples[0, : int(RECORDED_SECONDS * recording.rate)].to(device)
    wanted = mel_spectrogram(Waveform.single(heard, recording.rate), reference.mel.settings).values[0]
    made = []
    for number, sentence in enumerate(SENTENCES):
        piece, phonemes = Piece(sentence, number, pause=0.0), torch.tensor(phonemizer.ids(sentence))
        said = say(Task(piece, phonemes, voice, 0, options, lambda done, total: None, lambda message: None))
        if said is not None:
            made.append(said.values[0])
    return replace(reference, match=fit_match(torch.cat(made), wanted, strength) if made else None)


def at_pitch(samples: Tensor, rate: int, ratio: float) -> Tensor:
    """Play samples [L], which were spoken slower, `ratio` times faster: their pitch is higher by as much."""
    # Rates rounded to 10 Hz keep the filter short.
    return resample(samples, 10 * round(rate * ratio / 10), rate) if ratio != 1 else samples
