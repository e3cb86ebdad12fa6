"""Training of SoundStorm (paper, section 3.3): codes of one level are masked and learnt, all finer ones are hidden.

The frames before a random one are the prompt: known in all levels. Joined in pairs, utterances are a dialogue in which each
speaker has a prompt, and one of them is interrupted by the other. With a causal `order` every code is predicted from those of
the slots before it instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.core.types import SemanticTokens
from speechgen.models.acoustic.soundstorm.config import SoundStormConfig, SoundStormObjectiveConfig
from speechgen.models.acoustic.soundstorm.model import chosen
from speechgen.nn.masks import valid_mask
from speechgen.sampling.autoregressive import arrange, inputs_of, layout


@dataclass(frozen=True)
class Lines:
    """Utterances, or dialogues of two."""

    tokens: Tensor  # [B, T]
    speakers: Tensor  # [B, T]
    codes: Tensor  # [B, Q, T]
    target: Tensor  # [B, T], False in prompts and padding
    lengths: Tensor  # [B]


@dataclass(frozen=True)
class Question:
    """What the network is asked: shapes as in SoundStorm.forward, and the codes themselves."""

    tokens: Tensor  # [B, T]
    speakers: Tensor  # [B, T]
    given: Tensor  # [B, Q, T]
    lengths: Tensor  # [B]
    wanted: Tensor  # [B, Q, T]
    codes: Tensor  # [B, Q, T]


class SoundStormObjective:
    """One update per step."""

    fields = ("codes", "tokens")

    def __init__(self, network: nn.Module, config: SoundStormConfig, objective: SoundStormObjectiveConfig) -> None:
        if objective.join and config.speakers < 2:
            raise UserError("objective.join makes dialogues: set model.config.speakers to 2, or leave it out")
        self.config, self.settings = config, objective
        self.parts: dict[str, nn.Module] = {"network": network}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Mean cross entropy of the masked codes of the drawn levels."""
        question = self.ask(batch, rng)
        loss = self._losses(question).mean()
        yield Update("network", loss, {"codes": loss.detach()})

    def ask(self, batch: Batch, rng: torch.Generator, level: int | None = None) -> Question:
        """Draw prompts, levels (or take `level`) and masks for a batch."""
        if self.config.order != "parallel":
            return self._in_slots(*self._inputs(batch))
        lines = self._draw_prompts(*self._inputs(batch), rng)
        if float(torch.rand((), generator=rng, device=rng.device)) < self.settings.join:
            lines = _joined(lines, self.config.speakers, rng)
        (rows, size), device = lines.tokens.shape, lines.codes.device
        draw = torch.rand(2, rows, generator=rng, device=rng.device).to(device)
        books = self.config.num_codebooks
        weights = torch.arange(books, 0, -1, device=device, dtype=torch.float32) ** self.settings.coarse_first
        bounds = (weights / weights.sum()).cumsum(0)[:-1].contiguous()
        levels = torch.bucketize(draw[0], bounds) if level is None else torch.full_like(lines.lengths, level)
        noise = torch.rand(rows, size, generator=rng, device=rng.device).to(device)
        masked = lines.target & (noise < torch.cos(math.pi / 2 * draw[1])[:, None])
        # At least one: the unluckiest frame of the target.
        masked = masked.scatter(1, noise.masked_fill(~lines.target, 2).argmin(1, keepdim=True), True)
        book = torch.arange(books, device=device)[None, :, None]
        wanted = (book == levels[:, None, None]) & masked[:, None]
        hidden = wanted | ((book > levels[:, None, None]) & lines.target[:, None])
        given = lines.codes.masked_fill(hidden, self.config.codebook_size)
        return Question(lines.tokens, lines.speakers, given, lines.lengths, wanted, lines.codes)

    def _draw_prompts(self, tokens: Tensor, codes: Tensor, lengths: Tensor, rng: torch.Generator) -> Lines:
        """Let each row begin with a prompt, shorter than itself, and be spoken by some speaker."""
        draw = torch.rand(3, len(tokens), generator=rng, device=rng.device).to(codes.device)
        prompt = (draw[0] * lengths).long() * (draw[1] >= self.settings.drop_prompt)
        position = torch.arange(tokens.shape[1], device=codes.device)[None]
        target = (position >= prompt[:, None]) & valid_mask(lengths, tokens.shape[1])
        speakers = (draw[2] * self.config.speakers).long()[:, None].expand_as(tokens)
        return Lines(tokens, speakers, codes, target, lengths)

    def _in_slots(self, tokens: Tensor, codes: Tensor, lengths: Tensor) -> Question:
        """Every code, from those of the slots before it."""
        assert self.config.order != "parallel"
        places = layout(self.config.order, tokens.shape[1], self.config.num_codebooks).to(codes.device)  # [S, Q]
        slots = arrange(codes, places, self.config.codebook_size)
        wanted = ((places >= 0) & (places < lengths[:, None, None])).transpose(1, 2)  # [B, Q, S]
        newest = places.max(1).values  # [S]
        given = inputs_of(slots, self.config.codebook_size)
        said = tokens[:, newest]
        return Question(said, torch.zeros_like(said), given, wanted.any(1).sum(1), wanted, slots)

    def _losses(self, question: Question) -> Tensor:
        """Cross entropy [M] of the wanted codes."""
        asked = (question.tokens, question.speakers, question.given, question.lengths, question.wanted)
        logits = self.parts["network"](*asked)
        return F.cross_entropy(logits.float(), chosen(question.codes, question.wanted), reduction="none")

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, T], codes [B, Q, T] and lengths [B] of equal size."""
        rate = self.config.code_rate
        frames = (batch.lengths["tokens"] * rate / self.config.token_rate).round().long()
        lengths = torch.minimum(batch.lengths["codes"], frames).clamp(min=1)
        size = int(lengths.max())
        said = SemanticTokens(batch["tokens"], batch.lengths["tokens"], self.config.token_rate, self.config.num_tokens)
        return said.at(rate, size), batch["codes"][:, : self.config.num_codebooks, :size], lengths

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The training loss with masks drawn from `rng`, and that of each level; "loss" is their mean."""
        if self.config.order != "parallel":
            return {"loss": self._losses(self.ask(batch, rng)).mean()}
        losses = [self._losses(self.ask(batch, rng, level)).mean() for level in range(self.config.num_codebooks)]
        return {"loss": torch.stack(losses).mean(), **{f"level_{level}": loss for level, loss in enumerate(losses)}}

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Nothing: codes cannot be heard without their codec."""
        return Sample()


def _joined(lines: Lines, count: int, rng: torch.Generator) -> Lines:
    """Join rows in pairs: the second speaks up somewhere in the target of the first, as another speaker; an odd row stays."""
    rows: list[tuple[Tensor, ...]] = []
    for first in range(0, len(lines.tokens), 2):
        mine = tuple(value[..., : int(lines.lengths[first])] for value in _row(lines, first))
        if first + 1 == len(lines.tokens):
            rows.append(mine)
            break
        other = _row(replace(lines, speakers=(lines.speakers[first, :1] + 1).expand_as(lines.speakers) % count), first + 1)
        theirs = tuple(value[..., : int(lines.lengths[first + 1])] for value in other)
        prompt, length = int((~mine[3]).sum()), mine[3].shape[0]
        cut = prompt + int(float(torch.rand((), generator=rng, device=rng.device)) * (length - prompt + 1))
        rows.append(tuple(torch.cat((a[..., :cut], b, a[..., cut:]), dim=-1) for a, b in zip(mine, theirs, strict=True)))
    lengths = torch.tensor([row[0].shape[0] for row in rows], device=lines.tokens.device)
    tokens, speakers, codes, target = (
        pad_sequence([value.movedim(-1, 0) for value in values], batch_first=True) for values in zip(*rows, strict=True)
    )
    return Lines(tokens, speakers, codes.transpose(1, 2), target, lengths)


def _row(lines: Lines, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return lines.tokens[index], lines.speakers[index], lines.codes[index], lines.target[index]
