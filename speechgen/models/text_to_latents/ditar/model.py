"""DiTAR's three networks (paper, section 3).

    patches --encoder--> one embedding each --language model--> what comes next --LocDiT, with the last patches--> velocity

The language model reads the text, the prompt's patches and its own, and speaks once for each patch; the diffusion transformer
(LocDiT) sees that, the patches just before and the noisy patch. The path its velocity belongs to is
sampling/variance_preserving.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.models.text_to_latents.ditar.config import DiTARConfig
from speechgen.nn.embeddings import TimeEmbedding
from speechgen.nn.kv_cache import KeyValueCache
from speechgen.nn.masks import valid_mask
from speechgen.nn.pooling import ReferenceEncoder
from speechgen.nn.positions import angles_at, rotary_angles
from speechgen.nn.transformer import TransformerBlock


class Spoken(NamedTuple):
    """What is spoken, of a batch.

    Attributes:
        text: symbols [B, S], and how many are real [B].
        reference: patches [B, R, P, C] of a recording whose text is not told, and how many are real [B]; R may be 0.
        pace: [B] symbols of the text for each patch.
    """

    text: Tensor
    text_lengths: Tensor
    reference: Tensor
    reference_lengths: Tensor
    pace: Tensor


class Prefix(NamedTuple):
    """What the language model reads first, and where it goes on.

    Attributes:
        x: embeddings [B, N, D].
        position: of each, [B, N].
        valid: which are real, [B, N].
        voice: [B, D].
        first: [B] position of the first patch.
        step: [B] from one patch to the next.
    """

    x: Tensor
    position: Tensor
    valid: Tensor
    voice: Tensor
    first: Tensor
    step: Tensor

    def place(self, numbers: Tensor) -> Tensor:
        """Positions [B, M] of patches by number [M]."""
        return self.first[:, None] + numbers * self.step[:, None]


class Draws(NamedTuple):
    """Noisy patches [N, P, C] at times t [N]: patch `places` of row `rows` each; `hidden`: without the language model."""

    rows: Tensor
    places: Tensor
    noisy: Tensor
    t: Tensor
    hidden: Tensor


class Made(NamedTuple):
    """Velocities [N, P, C] of the draws, the logit of ending with each patch [B, M], and those of its tokens [B, M, n K]."""

    velocity: Tensor
    stop: Tensor
    tokens: Tensor | None


class PatchEncoder(nn.Module):
    """A bidirectional transformer over the latents of a patch; what a learnt token in front becomes is the embedding."""

    def __init__(self, config: DiTARConfig) -> None:
        super().__init__()
        width = config.encoder_width
        self.head_width = width // config.encoder_heads
        self.project = nn.Linear(config.latent_width, width)
        self.special = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.encoder_heads, config.ff_multiple) for _ in range(config.encoder_depth)
        )
        self.norm = nn.RMSNorm(width)
        self.out = nn.Linear(width, config.width)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches [N, P, C] to embeddings [N, D]."""
        x = self.project(patches)
        x = torch.cat((self.special.to(x.dtype).expand(len(x), 1, -1), x), dim=1)  # [N, 1 + P, E]
        angles = rotary_angles(x.shape[1], self.head_width, x.device)
        everything = torch.ones(1, x.shape[1], dtype=torch.bool, device=x.device)
        for block in self.blocks:
            x = block(x, everything, angles)
        embedded: Tensor = self.out(self.norm(x[:, 0]))
        return embedded


class LocDiT(nn.Module):
    """A bidirectional transformer over what the language model says, the patches before and the noisy patch."""

    def __init__(self, config: DiTARConfig) -> None:
        super().__init__()
        width = config.head_width
        self.head_width = width // config.head_heads
        self.condition = nn.Linear(config.width, width)
        self.time = TimeEmbedding(width)
        self.past, self.project = nn.Linear(config.latent_width, width), nn.Linear(config.latent_width, width)
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)  # in place of a latent before the first
        # Differs from paper: time and condition modulate every block too: a small head has few to mix them in.
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.head_heads, config.ff_multiple, modulated=True) for _ in range(config.head_depth)
        )
        self.norm = nn.RMSNorm(width)
        self.out = nn.Linear(width, config.latent_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, noisy: Tensor, t: Tensor, said: Tensor, past: Tensor, known: Tensor) -> Tensor:
        """Predict the velocity of a patch.

        Args:
            noisy: [N, P, C] at flow time t.
            t: [N] in [0, 1].
            said: [N, D] by the language model; zeros: nothing.
            past: [N, H * P, C] the latents just before.
            known: [N, H * P], False where there was none.

        Returns:
            [N, P, C].
        """
        condition = self.condition(said) + self.time(t).to(said.dtype)  # [N, W]
        before = torch.where(known[..., None], self.past(past.to(said.dtype)), self.nothing.to(said.dtype))
        x = torch.cat((condition[:, None], before, self.project(noisy.to(said.dtype))), dim=1)  # [N, 1 + H P + P, W]
        angles = rotary_angles(x.shape[1], self.head_width, x.device)
        everything = torch.ones(1, x.shape[1], dtype=torch.bool, device=x.device)
        modulation = F.silu(condition)
        for block in self.blocks:
            x = block(x, everything, angles, modulation)
        velocity: Tensor = self.out(self.norm(x[:, -noisy.shape[1] :]))
        return velocity.to(noisy.dtype)


class DiTAR(nn.Module):
    """All three; `forward` is for training, the other methods are its steps for speaking."""

    def __init__(self, config: DiTARConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.symbols = nn.Embedding(config.vocabulary_size, width)
        self.kinds = nn.Embedding(2, width)  # of the text, and of the reference
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.encoder = PatchEncoder(config)
        self.voice = ReferenceEncoder(config.latent_width, width) if config.untold_prompt else None
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.num_heads, config.ff_multiple, config.dropout) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(width)
        self.stop = nn.Linear(width, 1)
        self.tokens = nn.Linear(width, config.tokens_per_patch * config.num_tokens) if config.num_tokens else None
        self.head = LocDiT(config)

    def forward(self, spoken: Spoken, patches: Tensor, draws: Draws) -> Made:
        """Predict velocities, ends and tokens of all patches of a batch at once.

        Args:
            spoken: what is said, and in whose voice.
            patches: [B, M, P, C] as they are read: with noise in them, if that is wanted.
            draws: which patches the head is asked for.
        """
        context = self.follow(self.prefix(spoken), patches[:, :-1])  # [B, M, D]
        past, known = self.pasts(patches)  # [B, M, H P, C], [B, M, H P]
        rows, places = draws.rows, draws.places
        said = context[rows, places] * ~draws.hidden[:, None]
        velocity = self.head(draws.noisy, draws.t, said, past[rows, places], known[rows, places])
        return Made(velocity, self.stop(context)[..., 0], self.tokens(context) if self.tokens is not None else None)

    def prefix(self, spoken: Spoken) -> Prefix:
        """Embed what is known before the first patch: the text, the reference, the voice."""
        size = spoken.text.shape[1]
        x = self.symbols(spoken.text) + self.kinds.weight[0]  # [B, S, D]
        count = spoken.reference.shape[1]
        position = torch.arange(size, device=x.device).expand(len(x), -1).float()
        valid = valid_mask(spoken.text_lengths, size)
        voice = x.new_zeros(len(x), x.shape[2])
        if count:
            x = torch.cat((x, self.embed(spoken.reference) + self.kinds.weight[1]), dim=1)
            places = torch.arange(count, device=x.device) - spoken.reference_lengths[:, None] - 1
            position = torch.cat((position, places * spoken.pace[:, None]), dim=1)
            heard = valid_mask(spoken.reference_lengths, count)
            valid = torch.cat((valid, heard), dim=1)
            if self.voice is not None:
                latents = heard.repeat_interleave(self.config.patch, dim=1)
                voice = self.voice(spoken.reference.flatten(1, 2).to(x.dtype), latents).to(x.dtype)
        first = torch.zeros_like(spoken.pace) if self.config.paced else spoken.text_lengths.float()
        step = spoken.pace if self.config.paced else torch.ones_like(spoken.pace)
        return Prefix(x, position, valid, voice, first, step)

    def follow(self, prefix: Prefix, patches: Tensor) -> Tensor:
        """Run the language model over prefix and patches [B, M - 1, P, C]; return what it says of M patches, [B, M, D]."""
        start, slots = prefix.x.shape[1], patches.shape[1] + 1
        x = torch.cat((prefix.x, self.slots(prefix, patches)), dim=1)
        places = torch.arange(slots, device=x.device)
        position = torch.cat((prefix.position, prefix.place(places)), dim=1)
        valid = F.pad(prefix.valid, (0, slots), value=True)
        index = torch.arange(x.shape[1], device=x.device)
        # Differs from paper: the prefix sees itself in both directions.
        seen = (index[None] < start) | ((index[None] <= index[:, None]) & (index[:, None] >= start))  # [N, N]
        return self.read(x, position, seen & valid[:, None])[:, start:]

    def slots(self, prefix: Prefix, patches: Tensor) -> Tensor:
        """Inputs of the language model for the first patch and for what follows `patches` [B, M, P, C]: [B, M + 1, D]."""
        slots = self.start.to(prefix.x.dtype).expand(len(patches), 1, -1)
        if patches.shape[1]:
            slots = torch.cat((slots, self.embed(patches)), dim=1)
        return slots + prefix.voice[:, None]

    def embed(self, patches: Tensor) -> Tensor:
        """Map patches [B, M, P, C] to [B, M, D]."""
        embedded: Tensor = self.encoder(patches.flatten(0, 1).to(self.start.dtype)).unflatten(0, patches.shape[:2])
        return embedded

    def read(self, x: Tensor, position: Tensor, seen: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Run the language model's blocks over x [B, N, D] at positions [B, N]; `seen` [B, N, N'] as in SelfAttention."""
        angles = angles_at(position, self.config.width // self.config.num_heads)
        for index, block in enumerate(self.blocks):
            x = block(x, seen, angles, None, None if cache is None else cache.layers[index])
        normed: Tensor = self.norm(x)
        return normed

    def pasts(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """For each of patches [B, M, P, C] the latents before it, [B, M, H P, C], and which of them there are, [B, M, H P]."""
        history, size = self.config.history, patches.shape[1]
        padded = F.pad(patches, (0, 0, 0, 0, history, 0))  # [B, H + M, P, C]
        index = torch.arange(size, device=patches.device)[:, None] + torch.arange(history, device=patches.device)  # [M, H]
        past = padded[:, index].flatten(2, 3)  # [B, M, H P, C]
        known = (index >= history).repeat_interleave(self.config.patch, dim=1)
        return past, known.expand(len(patches), -1, -1)
