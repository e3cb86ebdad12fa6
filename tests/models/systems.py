"""How a model of each role is fed and asked to generate: by role, so that a new model folder needs no entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from speechgen.core import registry
from speechgen.core.protocols import Batch, Progress
from speechgen.core.random import generator
from speechgen.core.spec import ModelSpec
from speechgen.core.types import CodecTokens, Latents, Mel, MelSettings, SemanticTokens, Text, Waveform
from tests.tiny import RATE, voice_like

MEL = MelSettings()
TOKEN_RATE = MEL.frame_rate / 2
NUM_TOKENS = 8
CODEC = "tiny"
CODEBOOKS = 3
CODES = 16
LATENT_WIDTH = 4
LATENT_RATE = MEL.frame_rate / 4


@dataclass(frozen=True)
class System:
    """A model with its tiny configuration, built from a seed; nothing in it is all zero."""

    name: str
    spec: ModelSpec
    config: Any
    network: nn.Module

    def objective(self) -> Any:
        """The tiny objective."""
        torch.manual_seed(1)
        return self.spec.objective(self.network, self.config, self.spec.objective_config.tiny())

    def generate(self, seed: int = 0, progress: Progress | None = None) -> Tensor:
        """What the generator makes of the one request of its role."""
        asked = self.spec.generator(self.network.eval(), self.config)
        return GENERATE[self.spec.role](asked, self.spec.options, generator(seed), progress)


def build(name: str) -> System:
    """Return the tiny model, with weights that start at zero replaced by small random ones."""
    spec = registry.get(name)
    torch.manual_seed(0)
    config = spec.config.tiny()
    network = spec.build(config)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point() and value.eq(0).all():
                value.normal_(std=0.2)
    return System(name, spec, config, network)


def speech(*seconds: float) -> Waveform:
    """Rows of sound and pauses, padded with zeros."""
    rows = [voice_like(length, seed=index, pitch=100.0 + 40 * index) for index, length in enumerate(seconds)]
    return Waveform(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows]), RATE)


def mel(*frames: int, seed: int = 0) -> Mel:
    """Random rows with the level of speech."""
    rng = torch.Generator().manual_seed(seed)
    values = -4 + 2 * torch.randn(len(frames), max(frames), MEL.num_bins, generator=rng)
    return Mel(values, torch.tensor(frames), MEL)


def tokens(*lengths: int, seed: int = 0) -> SemanticTokens:
    """Random rows."""
    ids = torch.randint(NUM_TOKENS, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    return SemanticTokens(ids, torch.tensor(lengths), TOKEN_RATE, NUM_TOKENS)


def codes(*lengths: int, seed: int = 0) -> CodecTokens:
    """Random rows, one frame for each token."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(CODES, (len(lengths), CODEBOOKS, max(lengths)), generator=rng)
    return CodecTokens(ids, torch.tensor(lengths), TOKEN_RATE, CODES, CODEC)


def latents(*lengths: int, seed: int = 0) -> Latents:
    """Random rows, normalised."""
    values = torch.randn(len(lengths), max(lengths), LATENT_WIDTH, generator=torch.Generator().manual_seed(seed))
    return Latents(values, torch.tensor(lengths), LATENT_RATE)


def batch(fields: tuple[str, ...], padding: int = 0) -> Batch:
    """A training batch of two unequal rows; audio comes in crops of one length.

    Args:
        fields: of the objective.
        padding: how many more entries hold rubbish behind the longest row.
    """
    rng = torch.Generator().manual_seed(5)
    made = {
        "audio": (torch.stack([voice_like(0.512, seed=1), voice_like(0.512, pitch=180.0)]), (12288, 12288)),
        "mel": (mel(25, 16).values, (25, 16)),  # odd and even
        "reference": (mel(20, 31, seed=1).values, (20, 31)),
        "tokens": (tokens(13, 8).ids, (13, 8)),
        "latents": (latents(6, 4).values, (6, 4)),
        "reference_latents": (latents(5, 8, seed=1).values, (5, 8)),
        "labels": (torch.randint(18, 60, (2, 13), generator=rng), (13, 8)),
        "pitch": (torch.tensor([150.0, 160.0, 0.0, 140.0]).repeat(2, 12), (48, 48)),
        "codes": (codes(13, 8).ids.transpose(1, 2), (13, 8)),
        "phonemes": (torch.randint(18, 60, (2, 5), generator=rng), (5, 3)),
        "alignment": (
            torch.tensor([[0, 2, 3, 3, 9, 9, 12, 14, 18, 20, 21, 24], [1, 3, 5, 6, 6, 9, 15, 0, 0, 0, 0, 0]]),
            (12, 7),
        ),
        "characters": (torch.tensor([[ord(letter) for letter in row] for row in ("seven words", "seven words")]), (11, 6)),
    }
    found = {name: made[name] for name in fields}
    if padding:
        found = {name: (_fill(values, lengths, padding), lengths) for name, (values, lengths) in found.items()}
    lengths = {name: torch.tensor(each) for name, (_, each) in found.items()}
    padded = {name: values.transpose(1, 2) if name == "codes" else values for name, (values, _) in found.items()}
    return Batch(padded, lengths)


def _fill(values: Tensor, lengths: tuple[int, ...], padding: int) -> Tensor:
    """Put other values behind every row: 7, a token, a phone and a very loud mel at once."""
    longer = values.new_full((len(values), values.shape[1] + padding, *values.shape[2:]), 7)
    for row, length in enumerate(lengths):
        longer[row, :length] = values[row, :length]
    return longer


def _tokenize(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    return model.encode(speech(0.5)).ids


def _speak(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    text = Text(torch.arange(20, 40)[None], torch.tensor([20]))
    return model.generate(text, mel(30), options=options(), rng=rng, progress=progress).ids


def _voice(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    if not hasattr(model, "mel"):
        return model.generate(tokens(11), codes(7), tokens(8, seed=1), options=options(), rng=rng, progress=progress).ids
    made = model.generate(tokens(11), mel(15), tokens(8, seed=1), options=options(), rng=rng, progress=progress)
    return made.values


def _read(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    said, asked = Text(torch.arange(5)[None], torch.tensor([5])), Text(torch.arange(5, 12)[None], torch.tensor([7]))
    return model.generate(asked, mel(15), said, frames=21, options=options(steps=4), rng=rng, progress=progress).values


def _encode(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    return model.decode(model.encode(mel(22))).values


def _say(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    said, asked = Text(torch.arange(20, 26)[None], torch.tensor([6])), Text(torch.arange(26, 36)[None], torch.tensor([10]))
    parts = []
    for part in model.stream(asked, latents(7), said, count=9, options=options(steps=2), rng=rng):
        parts.append(part.values)
        if progress is not None:
            progress(round(1000 * part.done), 1000)
    return torch.cat(parts, dim=1)


def _describe(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    said, few = ["a slow waltz", "church bells"], options(steps=3, fine_steps=2)
    return model.generate(said, 11, codes(5, 5), options=few, rng=rng, progress=progress).ids


def _render(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    return model.generate(mel(20), options=options(), rng=rng, progress=progress).samples


def _copy(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    return model.decode(model.encode(speech(0.5))).samples


def _draw(model: Any, options: Any, rng: torch.Generator, progress: Progress | None) -> Tensor:
    return model.generate(2, 40, speech(0.005), options=options(), rng=rng, progress=progress).samples


GENERATE: dict[str, Callable[..., Tensor]] = {
    "tokenizers": _tokenize,
    "semantic": _speak,
    "acoustic": _voice,
    "text_to_mel": _read,
    "text_to_codes": _describe,
    "autoencoders": _encode,
    "text_to_latents": _say,
    "vocoders": _render,
    "codecs": _copy,
    "waveform": _draw,
}
