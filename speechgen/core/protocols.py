"""What a part of the pipeline promises. Structural: nothing inherits from these.

A model folder's `generate.py` provides the role's protocol, its `objective.py` an Objective.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from speechgen.core.types import CodecTokens, Latents, Mel, MelSettings, SemanticTokens, Text, Waveform

__all__ = [
    "AcousticCodesModel",
    "AcousticModel",
    "Autoencoder",
    "AutoregressiveModel",
    "Batch",
    "Codec",
    "DialogueModel",
    "InfillingModel",
    "InfillingTextToLatents",
    "LatentPart",
    "Objective",
    "Part",
    "Progress",
    "Sample",
    "SemanticModel",
    "SemanticTokenizer",
    "TextToCodes",
    "TextToLatents",
    "TextToMel",
    "Update",
    "Vocoder",
    "WaveformModel",
]

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Batch:
    """One training batch: padded tensors by field name, and how many entries of each row are real.

    Fields (each exists only if the objective asked for it):
        audio [B, L] float32 · mel [B, T, M] float32 · phonemes [B, S] int64 · characters [B, S] int64 (code points)
        alignment [B, S + 1] int64, mel frames at which the characters begin, and at which the last one ends
        latents [B, T'', D] float32 · tokens [B, T'] int64 · labels [B, T'] int64
        pitch [B, T] float32, Hz on the frames of the mel, 0 = unvoiced
        codes [B, Q, T] int64, a codec's
    """

    fields: dict[str, Tensor]
    lengths: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def to(self, device: torch.device | str) -> Batch:
        """Return the same batch on `device`."""
        return Batch(
            {name: value.to(device) for name, value in self.fields.items()},
            {name: value.to(device) for name, value in self.lengths.items()},
        )


@dataclass(frozen=True)
class Update:
    """One optimiser step: minimise `loss` (scalar) over the parameters of `part`."""

    part: str
    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """Something to look at or listen to while training; what is None is not logged."""

    audio: Tensor | None = None  # [L]
    mel: Tensor | None = None  # [T, M]
    rate: int = 24000


class Objective(Protocol):
    """How a model learns. Holds its networks in `parts`, which the trainer wraps in place."""

    fields: tuple[str, ...]
    """Batch fields it reads."""
    parts: dict[str, nn.Module]
    """Networks by name, each with an optimiser of its own; "network" is the one that is exported."""

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Yield one Update per optimiser step; the trainer steps that part before asking for the next."""
        ...

    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Return scalar metrics of one held-out batch; "loss" is the one that checkpoints are compared by."""
        ...

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Return something to log for the first row of a held-out batch."""
        ...


class SemanticTokenizer(Protocol):
    """Audio to tokens of what is said."""

    rate: float
    size: int

    def encode(self, audio: Waveform) -> SemanticTokens:
        """Tokenise audio of any rate."""
        ...

    def fit(self, audio: Waveform, phonemes: Tensor) -> float | None:
        """Return how well one row of audio says `phonemes [S]`: log probability for each phone; None if it cannot tell."""
        ...

    def phone_scores(self, audio: Waveform) -> Tensor | None:
        """Return the log probability of each phoneme symbol in each frame of one row of audio, [T', V]; None if it cannot."""
        ...


class SemanticModel(Protocol):
    """Phonemes and a reference to semantic tokens."""

    def generate(
        self, text: Text, reference: Mel, *, options: Any, rng: torch.Generator, progress: Progress | None = None
    ) -> SemanticTokens:
        """Return the tokens that speak `text` at the reference's pace."""
        ...

    def stream(self, text: Text, reference: Mel, *, options: Any, rng: torch.Generator) -> Iterator[SemanticTokens]:
        """Yield the tokens so far, again and again, until they are what `generate` returns."""
        ...

    def infill(
        self, text: Text, symbols: range, before: SemanticTokens, reference: Mel, *, options: Any, rng: torch.Generator
    ) -> SemanticTokens:
        """Return the tokens of some of the symbols of `text`; those of the symbols before them are known."""
        ...


class AcousticModel(Protocol):
    """Semantic tokens and a prompt to a mel in the prompt's voice."""

    mel: MelSettings

    def generate(
        self,
        tokens: SemanticTokens,
        prompt: Mel,
        prompt_tokens: SemanticTokens,
        *,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Mel:
        """Return the mel of `tokens` alone, without the prompt's frames."""
        ...


class AcousticCodesModel(Protocol):
    """Semantic tokens and a prompt to codes in the prompt's voice."""

    def generate(
        self,
        tokens: SemanticTokens,
        prompt: CodecTokens,
        prompt_tokens: SemanticTokens,
        *,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> CodecTokens:
        """Return the codes of `tokens` alone, of the prompt's codec and without its frames, of which there may be none."""
        ...


class DialogueModel(AcousticCodesModel, Protocol):
    """One that can also speak for several in one generation."""

    speakers: int
    """How many it holds apart; one for a model that cannot."""

    def converse(
        self,
        turns: Sequence[tuple[int, SemanticTokens]],
        prompts: Sequence[CodecTokens],
        prompt_tokens: Sequence[SemanticTokens],
        *,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> list[CodecTokens]:
        """Return the codes of each turn (speaker's number, tokens), as `generate` does for one."""
        ...


class TextToCodes(Protocol):
    """Descriptions to codes of what they describe: music, sounds."""

    rate: float
    size: int
    num_codebooks: int
    max_frames: int
    """The longest it can make at once, prompt included; beyond that what was made is the next prompt."""

    def generate(
        self,
        descriptions: Sequence[str],
        frames: int,
        prompt: CodecTokens,
        *,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> CodecTokens:
        """Return `frames` frames of codes for each description, of the prompt's codec and without its frames.

        The prompt has as many rows as there are descriptions, and may have no frames.
        """
        ...


class InfillingModel(AcousticModel, Protocol):
    """An acoustic model that can also fill a gap whose two sides are known."""

    patch_frames: int
    """Both sides begin and end at multiples of so many frames."""

    def infill(
        self,
        tokens: SemanticTokens,
        left: Mel,
        left_tokens: SemanticTokens,
        right: Mel,
        right_tokens: SemanticTokens,
        *,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Mel:
        """Return the mel of `tokens` alone, between `left` and `right`; either may have no frames."""
        ...


class TextToMel(Protocol):
    """Characters and a prompt to a mel in the prompt's voice, in one stage."""

    mel: MelSettings
    vocabulary: tuple[str, ...]
    segmented: bool
    """Whether it reads text as published front ends write it (`text.characters.segmented`)."""
    reads_prompt_text: bool
    """Whether it must be told what the prompt says; otherwise that tells the pace alone."""

    def generate(
        self,
        text: Text,
        prompt: Mel,
        prompt_text: Text,
        *,
        frames: int | None = None,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Mel:
        """Return the mel of `text` alone, `frames` long if that is given, without the prompt's frames."""
        ...


class Autoencoder(Protocol):
    """Mel to continuous latents and back."""

    mel: MelSettings
    rate: float
    """Latents per second."""
    width: int
    """Channels D of a latent."""
    frames: int
    """Mel frames of a latent."""
    reach: int
    """Latents before a frame's own that it can depend on; none behind it."""

    def encode(self, mel: Mel) -> Latents:
        """Return the latents of a mel; a last one that is not whole repeats the last frame."""
        ...

    def decode(self, latents: Latents) -> Mel:
        """Return the mel of latents, `frames` for each."""
        ...


@dataclass(frozen=True)
class LatentPart:
    """Some latents of an utterance that is being made.

    Attributes:
        values: [1, T, D].
        last: whether it ends here.
        done: how much of it there is, in [0, 1].
        ran_on: whether it ends for its bound alone, the model having found no end.
    """

    values: Tensor
    last: bool
    done: float
    ran_on: bool = False


class TextToLatents(Protocol):
    """Phonemes and a prompt's latents to latents in the prompt's voice, from left to right."""

    rate: float
    """Latents per second."""
    reads_prompt_text: bool
    """Whether it must be told what the prompt says."""
    sets_duration: bool
    """Whether it makes exactly as many latents as it is asked for; otherwise that is a hint."""

    def stream(
        self, text: Text, prompt: Latents, prompt_text: Text, *, count: int, options: Any, rng: torch.Generator
    ) -> Iterator[LatentPart]:
        """Yield the latents of `text` alone, part by part, about or exactly `count` of them."""
        ...


class InfillingTextToLatents(TextToLatents, Protocol):
    """One that can also fill a gap whose two sides are known."""

    def infill(
        self,
        text: Text,
        left: Latents,
        right: Latents,
        *,
        reference: Latents,
        count: int,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Latents:
        """Return `count` latents between `left` and `right`; `text` is that of all, `reference` the voice."""
        ...


@dataclass(frozen=True)
class Part:
    """Which part of an utterance is rendered, when its parts come one after another.

    Attributes:
        start: frame of the utterance at which the mel begins. What is drawn at a place is the same however it was cut.
        memory: what a vocoder wants to find again with the next part of the same utterance, by names of its own.
    """

    start: int = 0
    memory: dict[str, Tensor] = field(default_factory=dict)


class Vocoder(Protocol):
    """Mel to waveform."""

    mel: MelSettings
    reach_frames: int
    """Frames on either side that a sample can depend on: how much a streamed mel must overlap."""

    def generate(
        self,
        mel: Mel,
        *,
        options: Any,
        rng: torch.Generator,
        part: Part | None = None,
        progress: Progress | None = None,
    ) -> Waveform:
        """Return `(T - 1) * hop` samples for T frames; `part` None: the mel is the whole utterance."""
        ...


class Codec(Protocol):
    """Audio to residual codes and back."""

    identity: str
    """Which codec this is: codes of another are refused."""
    sample_rate: int
    rate: float
    """Frames of codes per second."""
    size: int
    """Codes in a codebook."""
    num_codebooks: int
    segmented: bool
    """Whether it codes segments, each at a level of its own, which codes alone do not tell."""

    def encode(self, audio: Waveform, codebooks: int | None = None) -> CodecTokens:
        """Return the codes of audio of any rate, of all codebooks or of the first few."""
        ...

    def decode(self, tokens: CodecTokens) -> Waveform:
        """Return the audio of codes, of all codebooks or of the first few."""
        ...


@runtime_checkable
class MelCoder(Protocol):
    """A codec whose codes are those of a mel, which any vocoder of that mel can render."""

    mel: MelSettings

    def decode_mel(self, tokens: CodecTokens) -> Mel:
        """Return the mel of codes, of all codebooks or of the first few: a whole number of frames for each code."""
        ...


class WaveformModel(Protocol):
    """Audio from nothing, or from its beginning."""

    sample_rate: int

    def generate(
        self,
        count: int,
        samples: int,
        prime: Waveform | None,
        *,
        options: Any,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Waveform:
        """Return `count` waveforms of `samples` samples each, behind `prime` if it is given (which is not returned)."""
        ...


class AutoregressiveModel(WaveformModel, Protocol):
    """A waveform model that draws sample by sample and knows the likelihood of any sound."""

    quantizer: str
    """Likelihoods under the same one are comparable."""

    def stream(self, samples: int, prime: Waveform | None, *, options: Any, rng: torch.Generator) -> Iterator[Tensor]:
        """Yield one waveform in pieces [L], in memory that does not grow with it."""
        ...

    def bits(self, audio: Waveform) -> Tensor:
        """Return the information of each row of audio of any rate, in bits per sample, [B] float64."""
        ...
