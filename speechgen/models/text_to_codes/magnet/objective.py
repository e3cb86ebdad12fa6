"""Training of MAGNeT (paper, section 3.1): spans of one level, the same for the whole batch, are masked and learnt.

The levels below it are visible, those above hidden. Causal, every code is predicted from those before it in a delay layout.
Hybrid (section 3.5), that is learnt of what lies before a random frame, and spans behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig, MAGNeTObjectiveConfig
from speechgen.nn.masks import valid_mask
from speechgen.sampling.autoregressive import arrange, inputs_of, layout
from speechgen.sampling.masked import masked_share, span_starts
from speechgen.text.captions import word_ids


@dataclass(frozen=True)
class Heard:
    """A batch: words, and codes of at most max_frames with a visible beginning."""

    words: Tensor  # [B, W]
    told: Tensor  # [B, W], True = a word that is not hidden
    codes: Tensor  # [B, K, T]
    lengths: Tensor  # [B]
    prompts: Tensor  # [B] frames, below the length


class MAGNeTObjective:
    """One update per step."""

    fields = ("codes", "characters")

    def __init__(self, network: nn.Module, config: MAGNeTConfig, objective: MAGNeTObjectiveConfig) -> None:
        if config.text != "words":
            raise UserError("models that read through T5 are imported, not trained here: set model.config.text to words")
        self.config, self.settings = config, objective
        self.parts: dict[str, nn.Module] = {"network": network}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Mean cross entropy of masked spans, of the next code, or of both."""
        heard = self.hear(batch, rng)
        losses: dict[str, Tensor] = {}
        if self.settings.mode != "causal":
            level = int(torch.randint(self.config.num_codebooks, (), generator=rng, device=rng.device))
            losses["masked"] = self._masked(heard, level, rng)
        if self.settings.mode != "masked":
            losses["causal"] = self._causal(heard, before=self.settings.mode == "hybrid")
        yield Update("network", torch.stack(list(losses.values())).sum(), {name: x.detach() for name, x in losses.items()})

    def hear(self, batch: Batch, rng: torch.Generator) -> Heard:
        """Crop the codes to max_frames, draw prompts, and hide descriptions and words."""
        config, settings = self.config, self.settings
        codes, lengths = batch["codes"][:, : config.num_codebooks], batch.lengths["codes"]
        rows = len(codes)
        draw = torch.rand(4, rows, generator=rng, device=rng.device).to(codes.device)
        starts = ((lengths - config.max_frames + 1).clamp(min=1) * draw[0]).long()
        lengths = lengths.clamp(max=config.max_frames)
        index = starts[:, None] + torch.arange(int(lengths.max()), device=codes.device)
        index = index.clamp(max=codes.shape[2] - 1)[:, None].expand(-1, codes.shape[1], -1)
        texts = [
            "".join(map(chr, row[:length]))
            for row, length in zip(batch["characters"].tolist(), batch.lengths["characters"].tolist(), strict=True)
        ]
        words, counts = word_ids(texts, config.word_buckets)
        told = valid_mask(counts, words.shape[1])
        told &= torch.rand(told.shape, generator=rng, device=rng.device).cpu() >= settings.drop_words
        told = told.to(codes.device) & (draw[1] >= settings.drop_text)[:, None]
        shown = draw[2] < (1 if settings.mode == "hybrid" else settings.prompt)
        return Heard(words.to(codes.device), told, codes.gather(2, index), lengths, (draw[3] * lengths).long() * shown)

    def spans(self, heard: Heard, rng: torch.Generator) -> Tensor:
        """Draw masked spans [B, T] behind the prompts: a rate from the cosine schedule for each row."""
        rows, size = len(heard.codes), heard.codes.shape[2]
        rates = torch.rand(rows, generator=rng, device=rng.device).tolist()
        noise = torch.rand(rows, size, generator=rng, device=rng.device).to(heard.codes.device)
        masked = torch.zeros_like(noise, dtype=torch.bool)
        for row, (prompt, length) in enumerate(zip(heard.prompts.tolist(), heard.lengths.tolist(), strict=True)):
            count = span_starts(length - prompt, self.config.span, masked_share(rates[row]))
            starts = torch.zeros(length - prompt, dtype=torch.bool, device=noise.device)
            starts[noise[row, prompt:length].topk(count).indices] = True
            behind = F.pad(starts, (self.config.span - 1, 0)).unfold(0, self.config.span, 1).any(-1)
            masked[row, prompt:length] = behind
        return masked

    def _masked(self, heard: Heard, level: int, rng: torch.Generator) -> Tensor:
        masked, size = self.spans(heard, rng), heard.codes.shape[2]
        target = valid_mask(heard.lengths, size) & ~valid_mask(heard.prompts, size)
        book = torch.arange(self.config.num_codebooks, device=masked.device)[None, :, None]
        wanted = (book == level) & masked[:, None]
        hidden = wanted | ((book > level) & target[:, None])
        given = heard.codes.masked_fill(hidden, self.config.codebook_size)
        return self._loss(heard, given, heard.lengths, wanted, heard.codes, level)

    def _causal(self, heard: Heard, *, before: bool) -> Tensor:
        """Every code, from those of the slots before it; `before`: those of the prompts alone, one frame at least."""
        places = layout("delay", heard.codes.shape[2], self.config.num_codebooks).to(heard.codes.device)  # [S, K]
        lengths = heard.prompts.clamp(min=1) if before else heard.lengths
        slots = arrange(heard.codes, places, self.config.codebook_size)
        wanted = ((places >= 0) & (places < lengths[:, None, None])).transpose(1, 2)  # [B, K, S]
        # What lies behind the last frame is not there yet when that is made.
        given = inputs_of(slots.masked_fill(~wanted, self.config.codebook_size), self.config.codebook_size)
        return self._loss(heard, given, wanted.any(1).sum(1), wanted, slots, None)

    def _loss(self, heard: Heard, given: Tensor, lengths: Tensor, wanted: Tensor, codes: Tensor, level: int | None) -> Tensor:
        logits = self.parts["network"](heard.words, heard.told, given, lengths, wanted, level)
        chosen = codes.transpose(0, 1)[wanted.transpose(0, 1)]  # in the order of the logits
        return F.cross_entropy(logits.float(), chosen)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The losses of every level and of the next code, as far as they are learnt; "loss" is the mean of all."""
        heard = self.hear(batch, rng)
        losses: dict[str, Tensor] = {}
        if self.settings.mode != "causal":
            losses |= {f"level_{level}": self._masked(heard, level, rng) for level in range(self.config.num_codebooks)}
        if self.settings.mode != "masked":
            losses["causal"] = self._causal(heard, before=self.settings.mode == "hybrid")
        return {"loss": torch.stack(list(losses.values())).mean(), **losses}

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Nothing: codes cannot be heard without their codec."""
        return Sample()
