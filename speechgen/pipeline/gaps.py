"""Gaps in recordings, and what fills them.

A `Gap` is a piece of recording, at the models' rate and level, with a stretch of it hidden. What makes the mel inside is a
`GapFiller` (fillers.py chooses); for pipelines of tokens that is `TokenFiller`:

    tokens   the semantic model continues the tokens of the words before the gap, knowing the words behind it, at the pace that
             it is measured to need for the words around
    mel      the acoustic model fills the gap between the mels of both sides
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.config import StrictModel
from speechgen.core.protocols import InfillingModel, Progress, Vocoder
from speechgen.core.random import generator
from speechgen.core.types import Mel, SemanticTokens, Text, Waveform
from speechgen.pipeline.carriers import Options
from speechgen.pipeline.edits import Change
from speechgen.pipeline.streaming import take
from speechgen.pipeline.token_stages import TokenStages
from speechgen.text.phonemes import Phonemizer
from speechgen.text.vocabulary import GAP, STRESS

__all__ = ["Gap", "GapFiller", "TokenFiller", "rendered"]

PACE_LIMITS = (0.6, 1.7)
PACE_DRAWS = 3
"""Readings whose mean length is compared with the recording: single ones differ by a fifth."""
JOINED_SECONDS = 0.03
"""Words that are no further apart have no pause between them."""


@dataclass(frozen=True)
class Gap:
    """A stretch that is hidden in a piece of recording.

    Attributes:
        audio: one row, at the models' rate and level, on their device; the old sound is still in it.
        start: sample at which the gap begins.
        stop: sample at which it ends.
        change: what it is to say; of the words around it, those that lie within `audio`.
    """

    audio: Waveform
    start: int
    stop: int
    change: Change


class GapFiller(Protocol):
    """Makes the mel of a gap. Each kind of pipeline has its own."""

    sample_rate: int
    """Of the models."""
    step_samples: int
    """The left side of a gap is a multiple of so many samples."""

    def fill(self, gap: Gap, *, seed: int, progress: Progress | None = None) -> tuple[Mel, Mel, Mel]:
        """Return the mels left of the gap, inside it, and right of it; the last begins at its stop."""
        ...

    def render(self, mel: Mel, seed: int) -> Tensor:
        """Return the sound of a mel, [T * hop]."""
        ...


def rendered(vocoder: Vocoder, mel: Mel, options: StrictModel, rng: torch.Generator) -> Tensor:
    """Return the sound of one row of mel with a hop for its last frame too, [T * hop] on the CPU."""
    longer = Mel(torch.cat((mel.values, mel.values[:, -1:]), dim=1), mel.lengths + 1, mel.settings)
    return vocoder.generate(longer, options=options, rng=rng).samples[0].float().cpu()


class TokenFiller:
    """Fills gaps by way of semantic tokens."""

    def __init__(self, stages: TokenStages, options: Options, phonemizer: Phonemizer) -> None:
        self._stages, self._options, self._phonemizer = stages, options.models, phonemizer
        self.sample_rate = stages.mel.sample_rate
        self._acoustic = cast(InfillingModel, stages.acoustic)
        self.step_samples = self._acoustic.patch_frames * self._stages.mel.hop_samples
        self._paces: dict[tuple[object, ...], float] = {}

    @torch.inference_mode()
    def fill(self, gap: Gap, *, seed: int, progress: Progress | None = None) -> tuple[Mel, Mel, Mel]:
        """Return the mels left of the gap, inside it and right of it."""
        stages = self._stages
        left, right = self._side(gap.audio, 0, gap.start), self._side(gap.audio, gap.stop, gap.audio.samples.shape[1])
        tokens = self._tokens(gap, left[1], seed)
        mel = self._acoustic.infill(
            tokens,
            *left,
            *right,
            options=self._options["acoustic"],
            rng=generator(seed, "acoustic", 0, device=stages.device),
            progress=progress,
        )
        return left[0], mel, right[0]

    @torch.inference_mode()
    def render(self, mel: Mel, seed: int) -> Tensor:
        """Return the sound of a mel, [T * hop]."""
        return rendered(
            self._stages.vocoder, mel, self._options["vocoder"], generator(seed, "vocoder", 0, device=self._stages.device)
        )

    def _side(self, audio: Waveform, start: int, stop: int) -> tuple[Mel, SemanticTokens]:
        """Mel and tokens of whole steps between two samples; computed with the sound around, which windows reach into."""
        settings, lead = self._stages.mel, start % self.step_samples
        heard = Waveform.single(audio.samples[0, lead:], audio.rate)
        count = (stop - start) // self.step_samples
        first, last = (start - lead) // self.step_samples, (start - lead) // self.step_samples + count
        mel, tokens = mel_spectrogram(heard, settings), self._stages.tokenizer.encode(heard)
        frames = mel.values[:, first * self._acoustic.patch_frames : last * self._acoustic.patch_frames]
        lengths = torch.full((1,), frames.shape[1], device=frames.device)
        step_tokens = self.step_samples / settings.sample_rate * tokens.rate
        return Mel(frames, lengths, settings), take(tokens, round(first * step_tokens), round(last * step_tokens))

    def _tokens(self, gap: Gap, before: SemanticTokens, seed: int) -> SemanticTokens:
        """What to say in the gap."""
        change, phonemizer = gap.change, self._phonemizer
        left, right = (" ".join(word.text for word in change.before), " ".join(word for word, _ in change.behind))
        symbols = phonemizer(" ".join(filter(None, (left, change.text, right))))
        chosen = _symbols_of(symbols, _count(left, phonemizer), _count(change.text, phonemizer), phonemizer)
        if change.before and change.start - change.before[-1].stop < JOINED_SECONDS:
            chosen = range(chosen.start - (symbols[chosen.start - 1] == GAP), chosen.stop)
        semantic = self._options["semantic"]
        speed = getattr(semantic, "speed", 1.0) * self._pace(gap, phonemizer, seed)
        return self._stages.semantic.infill(
            self._text(symbols),
            chosen,
            before if change.before else take(before, 0, 0),
            mel_spectrogram(gap.audio, self._stages.mel),
            options=semantic.model_copy(update={"speed": speed}),
            rng=generator(seed, "semantic", 0, device=self._stages.device),
        )

    def _pace(self, gap: Gap, phonemizer: Phonemizer, seed: int) -> float:
        """How much faster than by itself the semantic model must be to speak the words that are there in the time they took."""
        words = (*gap.change.before, *gap.change.old, *gap.change.after)
        if not words:
            return 1.0
        if words not in self._paces:
            symbols = phonemizer(" ".join(word.text for word in words))
            chosen = _symbols_of(symbols, 0, len(symbols), phonemizer)
            counts = [self._tokens_read(symbols, chosen, gap, seed + number) for number in range(PACE_DRAWS)]
            rate = self._stages.tokenizer.rate
            ratio = sum(counts) / PACE_DRAWS / max(1.0, (words[-1].stop - words[0].start) * rate)
            self._paces[words] = min(PACE_LIMITS[1], max(PACE_LIMITS[0], ratio))
        return self._paces[words]

    def _tokens_read(self, symbols: list[str], chosen: range, gap: Gap, seed: int) -> int:
        """How many tokens some symbols of a text have in a reading of it. As varied as people: other readings are biased."""
        semantic = self._options["semantic"]
        options = semantic.model_copy(update={"temperature": 1.0} if "temperature" in type(semantic).model_fields else {})
        made = self._stages.semantic.generate(
            self._text(symbols),
            mel_spectrogram(gap.audio, self._stages.mel),
            options=options,
            rng=generator(seed, "pace", 0, device=self._stages.device),
        )
        return made.ids.shape[1] if made.durations is None else int(made.durations[0, chosen.start : chosen.stop].sum())

    def _text(self, symbols: list[str]) -> Text:
        return Text.single(self._phonemizer.vocabulary.encode(symbols), self._stages.device)


def _count(text: str, phonemizer: Phonemizer) -> int:
    """Phones of a text; none of an empty one."""
    known = phonemizer.vocabulary
    return sum(known.ids[symbol] in known.phone_ids for symbol in phonemizer(text)) if text else 0


def _symbols_of(symbols: list[str], skipped: int, count: int, phonemizer: Phonemizer) -> range:
    """Which symbols `count` phones take that follow the first `skipped` ones, with the stress marks before them."""
    known = phonemizer.vocabulary
    phones = [index for index, symbol in enumerate(symbols) if known.ids[symbol] in known.phone_ids]
    first, last = phones[min(skipped, len(phones) - 1)], phones[min(skipped + count, len(phones)) - 1]
    while symbols[first - 1] in STRESS:
        first -= 1
    return range(first, max(first, last) + 1)
