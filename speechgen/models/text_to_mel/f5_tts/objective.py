"""Masked conditional flow matching (E2 TTS, section 2.1): the loss counts inside the masked span alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.models.text_to_mel.f5_tts.config import F5Config, F5ObjectiveConfig
from speechgen.models.text_to_mel.f5_tts.model import F5TTS, Field, Timing
from speechgen.nn.masks import masked_mean, valid_mask
from speechgen.sampling.flow_matching import integrate, interpolate
from speechgen.sampling.schedules import flow_times
from speechgen.text.characters import IPA, respell
from speechgen.text.vocabulary import ENGLISH


class F5Objective:
    """One update per step."""

    def __init__(self, network: nn.Module, config: F5Config, objective: F5ObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.plain = cast(F5TTS, network)  # for the parameter-free mel functions
        self.parts: dict[str, nn.Module] = {"network": network}
        wanted = {
            "reference": config.untold_prompt,
            "phonemes": objective.phonemes > 0,
            "alignment": objective.aligned > 0,
            "tokens": config.num_tokens > 0 and objective.token_weight > 0,
        }
        self.fields: tuple[str, ...] = ("mel", "characters", *(name for name, needed in wanted.items() if needed))
        if objective.phonemes and not set(IPA) <= set(config.vocabulary):
            raise UserError(
                "objective.phonemes needs a vocabulary with phonemes and brackets: add those of f5_tts.config.PHONETIC"
            )
        if objective.aligned and (objective.phonemes or not config.upsample_text):
            raise UserError("objective.aligned is for text that is spread as it is written: upsample_text, and no phonemes")
        if config.paced and not objective.aligned:
            raise UserError("a paced model learns how long symbols last from where they are spoken: set objective.aligned")
        if config.segmented:
            raise UserError("segmented text is what published weights read: to train here, set model.config.segmented to false")
        self._codes = torch.tensor([ord(symbol) if len(symbol) == 1 else -1 for symbol in config.vocabulary])

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Mean squared error of the velocity over the masked frames, and cross-entropy of their tokens."""
        losses = self._losses(batch, rng, training=True)
        yield Update("network", self._sum(losses), {name: loss.detach() for name, loss in losses.items()})

    def _sum(self, losses: dict[str, Tensor]) -> Tensor:
        weights = {"flow": 1.0, "token": self.settings.token_weight, "pace": 1.0}
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def _losses(self, batch: Batch, rng: torch.Generator, *, training: bool) -> dict[str, Tensor]:
        draw = torch.rand(7, len(batch["mel"]), generator=rng, device=rng.device).to(batch["mel"].device)
        data, lengths, masked = self._utterances(batch, draw[0], draw[1])
        hidden = draw[2] < self.settings.drop_all
        alone = (draw[3] < self.settings.drop_prompt) | hidden
        visible = data * (valid_mask(lengths, data.shape[1]) & ~masked & ~alone[:, None])[..., None]
        noise = torch.randn(data.shape, generator=rng, device=rng.device).to(data.device)
        t = draw[4] ** (self.settings.noisier if training else 1.0)
        noisy, velocity = interpolate(noise, data, t)
        text, text_lengths = self._text(batch, rng)
        timing = self._timing(batch, draw[5:] if training else None)
        made: Field = self.parts["network"](noisy, visible, text, text_lengths, hidden, t, lengths, None, timing)
        losses = {"flow": masked_mean((made.velocity.float() - velocity).square(), masked)}
        if made.tokens is not None and "tokens" in batch.fields:
            losses["token"] = self._token(made.tokens.float(), batch, masked)
        if self.config.paced and training:
            losses["pace"] = self._pace(made.edges, timing.spoken, text_lengths.masked_fill(hidden, -1))
        return losses

    def _pace(self, edges: Tensor, spoken: Tensor, counts: Tensor) -> Tensor:
        """How far symbols are thought to begin from where they are spoken, in seconds."""
        size = min(edges.shape[1], spoken.shape[1])
        away = (edges[:, :size] - spoken[:, :size]).abs() / self.config.mel.frame_rate
        return masked_mean(away, valid_mask(counts + 1, size))

    def _token(self, logits: Tensor, batch: Batch, masked: Tensor) -> Tensor:
        """Cross-entropy of the semantic tokens that sound during the masked frames."""
        position = torch.arange(masked.shape[1], device=masked.device) - self._starts(batch)[:, None]  # [B, T] in the utterance
        index = position.clamp(min=0) // self.config.frames_per_token
        known = masked & (position >= 0) & (index < batch.lengths["tokens"][:, None])
        ids = batch["tokens"].gather(1, index.clamp(max=batch["tokens"].shape[1] - 1))
        return masked_mean(F.cross_entropy(logits.transpose(1, 2), ids, reduction="none"), known)

    def _utterances(self, batch: Batch, share: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mels [B, T, M], their lengths [B], and which frames [B, T] are to be generated."""
        if self.config.untold_prompt:
            return self._behind_references(batch)
        size = int(batch.lengths["mel"].max())
        data, lengths = self.plain.normalized(batch["mel"][:, :size]), batch.lengths["mel"]
        count = ((self.settings.mask_low + (self.settings.mask_high - self.settings.mask_low) * share) * lengths).ceil()
        start = ((lengths - count + 1) * place).floor()
        position = torch.arange(size, device=data.device)[None]
        masked = (position >= start[:, None]) & (position < (start + count)[:, None]) & valid_mask(lengths, size)
        return data, lengths, masked

    def _behind_references(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The same, with another recording of the speaker in front, all of it visible."""
        # Differs from paper (section 2.4), which tells the text of the masked words alone and needs to know where words end.
        pairs = zip(batch.lengths["reference"].tolist(), batch.lengths["mel"].tolist(), strict=True)
        rows, starts = [], batch.lengths["reference"]
        for row, (shown, size) in enumerate(pairs):
            rows.append(torch.cat((batch["reference"][row, :shown], batch["mel"][row, :size])))
        data, lengths = self.plain.normalized(pad_sequence(rows, batch_first=True)), starts + batch.lengths["mel"]
        size = data.shape[1]
        return data, lengths, valid_mask(lengths, size) & ~valid_mask(starts, size)

    def _starts(self, batch: Batch) -> Tensor:
        """Frames [B] of the reference in front of each utterance, whose text is not told: 0 where there is none."""
        return batch.lengths["reference"] if self.config.untold_prompt else torch.zeros_like(batch.lengths["mel"])

    def _timing(self, batch: Batch, draw: Tensor | None = None) -> Timing:
        """Where symbols are spoken, and how far they lie there in some rows (draws [2, B]); without draws nothing is shown."""
        starts = self._starts(batch)
        if not self.settings.aligned or draw is None:
            return Timing(torch.zeros_like(starts), starts)
        share = torch.where(draw[0] < self.settings.aligned, draw[1], 0.0)
        return Timing(torch.zeros_like(starts), starts, starts[:, None] + batch["alignment"], share)

    def _text(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Symbols [B, S] of the code points, and their lengths [B]; what the vocabulary lacks is symbol 0."""
        points, lengths = (
            self._respelt(batch, rng) if self.settings.phonemes else (batch["characters"], batch.lengths["characters"])
        )
        found = points[..., None] == self._codes.to(points.device)  # [B, S, V]
        return found.int().argmax(-1), lengths

    def _respelt(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Code points of the texts with some words written by their phonemes."""
        rows = []
        for row, (size, count) in enumerate(zip(batch.lengths["characters"], batch.lengths["phonemes"], strict=True)):
            text = "".join(map(chr, batch["characters"][row, :size].tolist()))
            heard = ENGLISH.decode(batch["phonemes"][row, :count].tolist())
            draws = torch.rand(len(text), generator=rng, device=rng.device).tolist()
            rows.append(torch.tensor([ord(letter) for letter in respell(text, heard, draws, self.settings.phonemes)]))
        lengths = torch.tensor([len(row) for row in rows])
        device = batch["characters"].device
        return pad_sequence(rows, batch_first=True).to(device), lengths.to(device)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The flow loss on held-out speech with noise drawn from `rng`."""
        return {"loss": self._losses(batch, rng, training=False)["flow"]}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """The first utterance, generated behind its first third (or behind the reference)."""
        third = batch["mel"].new_full((len(batch["mel"]),), 2 / 3)
        data, lengths, masked = self._utterances(batch, third, torch.ones_like(third))
        if not self.config.untold_prompt:
            masked = valid_mask(lengths, data.shape[1]) & ~valid_mask(lengths // 3, data.shape[1])
        size = int(lengths[0])
        text, text_lengths = self._text(batch, rng)
        timing = Timing(*(each[:1] for each in self._timing(batch)[:2]))
        data, masked, lengths = data[:1, :size], masked[:1, :size, None], lengths[:1]
        text, text_lengths = text[:1], text_lengths[:1]
        hidden = torch.zeros(1, dtype=torch.bool, device=data.device)
        noise = torch.randn(data.shape, generator=rng, device=rng.device).to(data.device)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            made: Tensor = self.parts["network"](
                x, data * ~masked, text, text_lengths, hidden, t, lengths, None, timing
            ).velocity.float()
            return made

        made = integrate(velocity, noise, flow_times(12))
        return Sample(mel=self.plain.log_mel(torch.where(masked, made, data))[0])
