"""Training of the token transducer: RNN-T loss over all monotonic alignments (paper, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.core.protocols import Batch, Sample, Update
from speechgen.losses.transducer import transducer_loss
from speechgen.models.semantic.token_transducer.config import TransducerConfig, TransducerObjectiveConfig
from speechgen.models.semantic.token_transducer.model import TransducerInputs


class TransducerObjective:
    """One update per step."""

    fields = ("phonemes", "tokens", "reference")

    def __init__(self, network: nn.Module, config: TransducerConfig, objective: TransducerObjectiveConfig) -> None:
        self.config, self.settings = config, objective
        self.parts: dict[str, nn.Module] = {"network": network}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """RNN-T loss per token, with some of the predictor's past hidden, plus that of the pruning joiner."""
        tokens = batch["tokens"]
        hidden = torch.rand(tokens.shape, generator=rng, device=rng.device).to(tokens.device) < self.settings.hide_tokens
        loss, additive = self._losses(batch, tokens.masked_fill(hidden, self.config.num_tokens), self.settings.window)
        # While the windows are still misplaced, the cells in them teach little (Kuang et al., 2022, section 4).
        trust = min(1.0, 0.1 + 0.9 * step / max(1, self.settings.warmup_steps))
        total = trust * loss + self.settings.additive_weight * additive
        yield Update("network", total, {"transducer": loss.detach(), "additive": additive.detach()})

    def _losses(self, batch: Batch, past: Tensor, window: int) -> tuple[Tensor, Tensor]:
        inputs = TransducerInputs(
            phonemes=batch["phonemes"],
            phoneme_lengths=batch.lengths["phonemes"],
            tokens=batch["tokens"],
            token_lengths=batch.lengths["tokens"],
            history=F.pad(past, (1, 0), value=self.config.num_tokens),
            reference=batch["reference"],
            reference_lengths=batch.lengths["reference"],
        )
        lattice = self.parts["network"](inputs, window)
        loss = transducer_loss(
            lattice.logits.float(), inputs.tokens, inputs.phoneme_lengths, inputs.token_lengths, lattice.starts
        )
        return loss, lattice.additive_loss

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Losses per token with nothing hidden."""
        loss, additive = self._losses(batch, batch["tokens"], self.settings.window)
        return {"loss": loss, "additive": additive}

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Tokens cannot be listened to; the reference is shown."""
        return Sample(mel=batch["reference"][0, : int(batch.lengths["reference"][0])])
