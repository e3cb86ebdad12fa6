"""DiTAR as TextToLatents: patch by patch, the language model reading on from a cache (paper, section 3.5)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.protocols import LatentPart
from speechgen.core.types import Latents, Text
from speechgen.models.text_to_latents.ditar.config import DiTARConfig, DiTAROptions
from speechgen.models.text_to_latents.ditar.model import DiTAR, Prefix, Spoken
from speechgen.nn.kv_cache import KeyValueCache
from speechgen.sampling.context_noise import disturb
from speechgen.sampling.guidance import guide
from speechgen.sampling.variance_preserving import sample


class DiTARGenerator:
    """Speaks one text in the voice of one prompt; how long it takes is the model's choice, within bounds."""

    sets_duration = False

    def __init__(self, network: DiTAR, config: DiTARConfig) -> None:
        self.network, self.config, self.rate = network, config, config.latent_rate
        self.reads_prompt_text = not config.untold_prompt

    @torch.inference_mode()
    def stream(
        self,
        text: Text,
        prompt: Latents,
        prompt_text: Text,
        *,
        count: int,
        options: DiTAROptions,
        rng: torch.Generator,
    ) -> Iterator[LatentPart]:
        """Yield patch by patch the latents of `text` alone.

        Args:
            text: one row of phoneme ids, to be spoken.
            prompt: one row, the voice.
            prompt_text: one row, what the prompt says; not read by a model whose prompts are untold.
            count: how many latents it is expected to take at speed 1.
            options: steps, guidance, temperature and bounds.
            rng: source of the noise; the same state gives the same latents.

        Raises:
            UserError: all of it together is longer than the model reads; told before anything is made.
        """
        expected = max(1, math.ceil(count / options.speed / self.config.patch))
        most = max(2, math.ceil(options.longest * expected))
        # A last patch of the prompt that is not whole would be read as speech that goes on.
        whole = prompt.values[:, : prompt.values.shape[1] // self.config.patch * self.config.patch]
        known = whole.unflatten(1, (-1, self.config.patch))  # [1, R, P, C]
        prefix, before = self._prefix(text, known, prompt_text, expected)
        size = prefix.x.shape[1] + before.shape[1] + most
        if size > self.config.max_positions:
            raise UserError(
                f"text, prompt and speech take {size} positions of at most {self.config.max_positions}: "
                "give a shorter text or prompt"
            )
        reader = _Reader(self.network, prefix, size)
        heard = self._noisy(before, options, rng)  # as language model and head know the past; what is handed on stays clean
        said = reader.read(self.network.slots(prefix, heard))[:, -1]  # [1, D]
        for number in range(1, most + 1):
            patch = self._patch(said, heard, options, rng)
            # The end is told by what led up to the patch: it is known before the patch is read.
            ends = number >= options.shortest * expected and float(self.network.stop(said).sigmoid()) > options.stop_at
            last = ends or number == most
            yield LatentPart(patch, last, 1.0 if last else min(0.99, number / expected), ran_on=last and not ends)
            if last:
                return
            read = self._noisy(patch[:, None], options, rng)
            heard = torch.cat((heard, read), dim=1)
            said = reader.read(self.network.embed(read) + prefix.voice[:, None])[:, -1]

    def _prefix(self, text: Text, known: Tensor, prompt_text: Text, expected: int) -> tuple[Prefix, Tensor]:
        """What the language model reads first, and the patches that count as spoken before: those of a told prompt."""
        if self.config.untold_prompt:
            symbols, reference, before = text.ids, known, known[:, :0]
        else:
            # ^ a $ and ^ b $ become ^ a b $: one utterance, of which the prompt is the beginning.
            symbols = torch.cat((prompt_text.ids[:, :-1], text.ids[:, 1:]), dim=1) if prompt_text.ids.shape[1] else text.ids
            reference, before = known[:, :0], known if prompt_text.ids.shape[1] else known[:, :0]
        lengths = torch.tensor([symbols.shape[1]], device=symbols.device)
        shown = torch.tensor([reference.shape[1]], device=symbols.device)
        pace = lengths / (before.shape[1] + expected)
        return self.network.prefix(Spoken(symbols, lengths, reference, shown, pace)), before

    def _patch(self, said: Tensor, heard: Tensor, options: DiTAROptions, rng: torch.Generator) -> Tensor:
        """The next patch [1, P, C]; the language model ran once, whatever the number of steps and guidance."""
        count = 1 if options.guidance == 0 else 2
        recent = heard[:, max(0, heard.shape[1] - self.config.history) :]
        pasts, exist = self.network.pasts(torch.cat((recent, heard.new_zeros(1, 1, *heard.shape[2:])), dim=1))
        past, known = pasts[:, -1].expand(count, -1, -1), exist[:, -1].expand(count, -1)
        told = torch.cat((said, torch.zeros_like(said)))[:count]
        noise = torch.randn((1, *heard.shape[2:]), generator=rng, device=rng.device).to(heard)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            found = self.network.head(x.expand(count, -1, -1), t.expand(count), told, past, known)
            return found if count == 1 else guide(*found.chunk(2), options.guidance)

        times = torch.linspace(0, 1, options.steps + 1, dtype=torch.float64)
        return sample(velocity, noise, times, options.temperature)

    def _noisy(self, patches: Tensor, options: DiTAROptions, rng: torch.Generator) -> Tensor:
        """Patches [1, M, P, C] as they are read, with as much noise as the options say."""
        if options.context_noise == 0 or patches.shape[1] == 0:
            return patches
        noise = torch.randn(patches.shape, generator=rng, device=rng.device).to(patches)
        return disturb(patches, options.context_noise, noise)


class _Reader:
    """The language model and how far it has read.

    Args:
        network: of DiTAR.
        prefix: what it reads first.
        size: positions that it will read at most.
    """

    def __init__(self, network: DiTAR, prefix: Prefix, size: int) -> None:
        self._network, self._prefix, self._number = network, prefix, 0
        self._cache = KeyValueCache(network.config.depth, size)
        count = prefix.x.shape[1]
        network.read(prefix.x, prefix.position, prefix.valid[:, None].expand(-1, count, -1), self._cache)
        self._cache.keep(count)

    def read(self, x: Tensor) -> Tensor:
        """Read the next slots [1, M, D]; return what the language model says of the patch behind each, [1, M, D]."""
        count, device = x.shape[1], x.device
        places = torch.arange(self._number, self._number + count, device=device)
        behind = torch.ones(count, count, dtype=torch.bool, device=device).tril()
        before = torch.ones(count, self._cache.length, dtype=torch.bool, device=device)
        said = self._network.read(x, self._prefix.place(places), torch.cat((before, behind), dim=1)[None], self._cache)
        self._cache.keep(count)
        self._number += count
        return said
