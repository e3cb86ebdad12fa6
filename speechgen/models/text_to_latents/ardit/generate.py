"""ARDiT as TextToLatents, which can also fill a gap: block by block behind what is known, from a cache (paper, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.protocols import LatentPart, Progress
from speechgen.core.types import Latents, Text
from speechgen.models.text_to_latents.ardit.config import ARDiTConfig, ARDiTOptions
from speechgen.models.text_to_latents.ardit.model import CLEAN, CONTEXT, ARDiT, Layout
from speechgen.nn.kv_cache import KeyValueCache
from speechgen.sampling.context_noise import disturb
from speechgen.sampling.flow_matching import integrate
from speechgen.sampling.guidance import guide

MOST_SYMBOLS = 2.0
"""For each latent: more than 40 a second are not speech."""


@dataclass(frozen=True)
class _Known:
    """One utterance of which something is to be made.

    Attributes:
        text: symbols [1, S] of all of it.
        reference: latents [1, R, C] in front, whose text is not told.
        left: latents [1, N, C] of its beginning.
        right: latents [1, N, C] of its end.
        count: latents between them.
    """

    text: Tensor
    reference: Tensor
    left: Tensor
    right: Tensor
    count: int

    @property
    def size(self) -> int:
        """Latents of the whole utterance."""
        return self.left.shape[1] + self.count + self.right.shape[1]


class ARDiTGenerator:
    """Speaks one text in the voice of one prompt, or fills one gap, in exactly as many latents as it is told."""

    sets_duration = True

    def __init__(self, network: ARDiT, config: ARDiTConfig) -> None:
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
        options: ARDiTOptions,
        rng: torch.Generator,
    ) -> Iterator[LatentPart]:
        """Yield block by block the latents of `text` alone.

        Args:
            text: one row of phoneme ids, to be spoken.
            prompt: one row, the voice.
            prompt_text: one row, what the prompt says; not read by a model whose prompts are untold.
            count: how many latents it takes at speed 1.
            options: steps, block, guidance and the like.
            rng: source of the noise; the same state gives the same latents.

        Raises:
            UserError: so few latents cannot hold the text, or all of it together is longer than the model reads.
        """
        nothing, size = prompt.values[:, :0], max(1, round(count / options.speed))
        if self.config.untold_prompt:
            known = _Known(text.ids, prompt.values, nothing, nothing, size)
        elif prompt_text.ids.shape[1] == 0:
            known = _Known(text.ids, nothing, nothing, nothing, size)
        else:
            # ^ a $ and ^ b $ become ^ a b $: one utterance, of which the prompt is the beginning.
            symbols = torch.cat((prompt_text.ids[:, :-1], text.ids[:, 1:]), dim=1)
            known = _Known(symbols, nothing, prompt.values, nothing, size)
        self._check(text, size, known)
        made = 0
        for block in self._blocks(known, options, rng):
            made += block.shape[1]
            yield LatentPart(block, made == size, made / size)

    @torch.inference_mode()
    def infill(
        self,
        text: Text,
        left: Latents,
        right: Latents,
        *,
        reference: Latents,
        count: int,
        options: ARDiTOptions,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> Latents:
        """Return the `count` latents between `left` and `right`, both of which are seen from the first block on.

        Of several fillings (`options.fillings`) that one is kept behind which the model, without having seen the right side,
        goes on most like it (paper, section 4.4).

        Args:
            text: one row, symbols of all: left, gap and right.
            left: one row.
            right: one row.
            reference: one row, the voice; heard by a model whose prompts are untold.
            count: how many latents to make.
            options: steps, block, fillings and the like.
            rng: source of the noise.
            progress: called after each block.

        Raises:
            UserError: all of it together is longer than the model reads.
        """
        heard = reference.values if self.config.untold_prompt else left.values[:, :0]
        known = _Known(text.ids, heard, left.values, right.values, max(1, count))
        self._check(text, known.size, known)
        total = options.fillings * -(-known.count // options.block)
        found: list[tuple[float, Tensor]] = []
        done = 0
        for _ in range(options.fillings):
            blocks = []
            for block in self._blocks(known, options, rng):
                blocks.append(block)
                done += 1
                if progress is not None:
                    progress(done, total)
            made = torch.cat(blocks, dim=1)
            misfit = self._misfit(known, made, options, rng) if options.fillings > 1 else 0.0
            found.append((misfit, made))
        best = min(found, key=lambda each: each[0])[1]
        return Latents(best, torch.tensor([best.shape[1]], device=best.device), self.rate)

    def _misfit(self, known: _Known, made: Tensor, options: ARDiTOptions, rng: torch.Generator) -> float:
        """Mean squared distance of the right side's first block from what is made there when it is hidden; 0 without one."""
        size = min(options.block, known.right.shape[1])
        if size == 0:
            return 0.0
        left = torch.cat((known.left, made), dim=1)
        hidden = _Known(known.text, known.reference, left, known.right[:, :0], known.right.shape[1])
        expected = next(iter(self._blocks(hidden, options, rng)))
        return float((expected[:, :size] - known.right[:, :size]).square().mean())

    def _check(self, text: Text, size: int, known: _Known) -> None:
        symbols = text.ids.shape[1]
        if symbols > MOST_SYMBOLS * size:
            # A factor holds for a piece of a text as for the duration of all of it.
            times = math.ceil(10 * symbols / (MOST_SYMBOLS * size)) / 10
            raise UserError(
                f"{size / self.rate:.2f} s are too short for {symbols} symbols: give at least {times:g} times as long"
            )
        positions = known.text.shape[1] + known.reference.shape[1] + known.size
        if positions > self.config.max_positions:
            raise UserError(
                f"text, prompt and speech take {positions} positions of at most {self.config.max_positions}: "
                "give a shorter text or prompt"
            )

    def _blocks(self, known: _Known, options: ARDiTOptions, rng: torch.Generator) -> Iterator[Tensor]:
        """Make the latents between both sides block by block, [1, <= block, C] each."""
        reader = _Reader(self.network, known, 1 if options.guidance == 0 else 2)
        start = known.left.shape[1]
        for first in range(start, start + known.count, options.block):
            numbers = torch.arange(first, min(first + options.block, start + known.count), device=known.text.device)
            shape = (1, len(numbers), self.config.latent_width)
            noise = options.temperature * torch.randn(shape, generator=rng, device=rng.device).to(known.left)

            def velocity(x: Tensor, t: Tensor, numbers: Tensor = numbers) -> Tensor:
                return reader.velocity(x, numbers, float(t[0]), options.guidance)

            block = integrate(velocity, noise, torch.linspace(0, 1, options.steps + 1, dtype=torch.float64))
            yield block
            reader.read(self._noisy(block, options, rng), numbers)

    def _noisy(self, block: Tensor, options: ARDiTOptions, rng: torch.Generator) -> Tensor:
        """A block as it is read by those behind it."""
        if options.context_noise == 0:
            return block
        return disturb(block, options.context_noise, torch.randn(block.shape, generator=rng, device=rng.device).to(block))


class _Reader:
    """What has been read: reference, text and both sides first, then every finished block.

    Args:
        network: of ARDiT.
        known: the utterance.
        branches: 2 for guidance, the second without the text; 1 otherwise.
    """

    def __init__(self, network: ARDiT, known: _Known, branches: int) -> None:
        self._network, self._branches = network, branches
        device, sides = known.text.device, torch.cat((known.left, known.right), dim=1)
        self._layout = Layout(
            text=known.text.expand(branches, -1),
            text_lengths=torch.full((branches,), known.text.shape[1], device=device),
            hidden=torch.tensor([False, True], device=device)[:branches],
            reference=known.reference.expand(branches, -1, -1),
            reference_lengths=torch.full((branches,), known.reference.shape[1], device=device),
            clean=sides.expand(branches, -1, -1),
            lengths=torch.full((branches,), known.size, device=device),
            blocks=torch.full((branches, sides.shape[1]), CONTEXT, device=device),
        )
        x, position, time, _ = network.prefix(self._layout)
        self._manner = network.manner(self._layout)
        self._prefix = x.shape[1]
        self._cache = KeyValueCache(network.config.depth, self._prefix + known.size)
        # Reference and text do not see the sides, as in training.
        self._run(x, position, time)
        self._cache.keep(self._prefix)
        if sides.shape[1]:
            left = torch.arange(known.left.shape[1], device=device)
            right = torch.arange(known.left.shape[1] + known.count, known.size, device=device)
            self.read(sides, torch.cat((left, right)))

    def read(self, latents: Tensor, numbers: Tensor) -> None:
        """Read clean latents [1, M, C], by number [M], which all that follows sees."""
        self._speech(latents, numbers, CLEAN)
        self._cache.keep(latents.shape[1])

    def velocity(self, noisy: Tensor, numbers: Tensor, t: float, guidance: float) -> Tensor:
        """Velocity of a noisy block [1, M, C], guided if there are two branches."""
        found = self._network.field(self._speech(noisy, numbers, t)).velocity.to(noisy.dtype)
        return found if self._branches == 1 else guide(*found.chunk(2), guidance)

    def _speech(self, latents: Tensor, numbers: Tensor, time: float) -> Tensor:
        x = self._network.embed(latents.expand(self._branches, -1, -1), self._manner)
        position = self._network.places(self._layout, numbers.float())
        return self._run(x, position, torch.full_like(position, time))

    def _run(self, x: Tensor, position: Tensor, time: Tensor) -> Tensor:
        """Run over all that was kept, and x itself in both directions."""
        size = self._cache.length + x.shape[1]
        seen = torch.ones(len(x), x.shape[1], size, dtype=torch.bool, device=x.device)
        return self._network.read(x, position, time, seen, self._cache)
