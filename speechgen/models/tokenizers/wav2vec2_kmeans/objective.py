"""Training of the bundled encoder as a phoneme recogniser: frame cross entropy first, then CTC (Graves et al., 2006).

CTC from random weights stays on a plateau of blanks for long; frame labels of a synthetic voice that prints its own segment
times take the encoder off it in minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.models.tokenizers.wav2vec2_kmeans.config import TokenizerConfig, TokenizerObjectiveConfig
from speechgen.models.tokenizers.wav2vec2_kmeans.model import spoken_phones
from speechgen.nn.masks import masked_mean, valid_mask


class TokenizerObjective:
    """One update per step."""

    def __init__(self, network: nn.Module, config: TokenizerConfig, objective: TokenizerObjectiveConfig) -> None:
        if config.pretrained:
            raise UserError("pretrained encoders are not trained here: fit the centroids with `speechgen fit-kmeans`")
        self.config, self.settings = config, objective
        self.fields: tuple[str, ...] = ("mel", objective.target)
        self.parts: dict[str, nn.Module] = {"network": network}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Cross entropy of frame labels, or CTC of phoneme strings."""
        mel = self._augment(batch["mel"], batch.lengths["mel"], rng)
        loss, metrics = self._loss(mel, batch)
        yield Update("network", loss, metrics)

    def _loss(self, mel: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits, lengths = self.parts["network"](mel, batch.lengths["mel"])  # [B, T', V]
        logits = logits.float()
        if self.settings.target == "labels":
            labels = batch["labels"][:, : logits.shape[1]]
            valid = valid_mask(torch.minimum(lengths, batch.lengths["labels"]), labels.shape[1])
            loss = masked_mean(F.cross_entropy(logits.transpose(1, 2), labels, reduction="none"), valid)
            error = masked_mean((logits.argmax(-1) != labels).float(), valid)
            return loss, {"frame_error": error.detach()}
        targets, target_lengths = spoken_phones(batch["phonemes"], batch.lengths["phonemes"])
        losses = F.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1), targets, lengths, target_lengths, reduction="none", zero_infinity=True
        )
        return losses.sum() / target_lengths.sum().clamp(min=1), {}

    def _augment(self, mel: Tensor, lengths: Tensor, rng: torch.Generator) -> Tensor:
        """SpecAugment (Park et al., 2019): replace spans of time and a band of frequency by the utterance's mean."""
        if not (self.settings.mask_fraction or self.settings.mask_bins):
            return mel
        size, bins = mel.shape[1], mel.shape[2]
        draw = torch.rand(len(mel), 4, generator=rng, device=rng.device).to(mel.device)
        time = torch.arange(size, device=mel.device)[None]
        band = torch.arange(bins, device=mel.device)[None]
        span = (self.settings.mask_fraction * lengths * draw[:, 0]).long()
        start = ((lengths - span) * draw[:, 1]).long()
        hidden_time = (time >= start[:, None]) & (time < (start + span)[:, None])
        height = (self.settings.mask_bins * draw[:, 2]).long()
        low = ((bins - height) * draw[:, 3]).long()
        hidden_band = (band >= low[:, None]) & (band < (low + height)[:, None])
        hidden = hidden_time[..., None] | hidden_band[:, None]
        real = (time < lengths[:, None])[..., None]
        mean = (mel * real).sum(1, keepdim=True) / lengths[:, None, None].clamp(min=1)
        return torch.where(hidden, mean, mel)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss; for CTC also the phone error rate of the best path."""
        loss, metrics = self._loss(batch["mel"], batch)
        if self.settings.target == "phonemes":
            metrics = {"phone_error": self._phone_error(batch)}
        return {"loss": loss, **metrics}

    def _phone_error(self, batch: Batch) -> Tensor:
        from torchaudio.functional import edit_distance

        logits, lengths = self.parts["network"](batch["mel"], batch.lengths["mel"])
        targets, target_lengths = spoken_phones(batch["phonemes"], batch.lengths["phonemes"])
        errors = total = 0
        for row in range(len(logits)):
            path = torch.unique_consecutive(logits[row, : lengths[row]].argmax(-1))
            expected = targets[row, : target_lengths[row]].tolist()
            errors += edit_distance(path[path != 0].tolist(), expected)
            total += len(expected)
        return logits.new_tensor(errors / max(1, total))

    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """The first mel; there is nothing to listen to."""
        return Sample(mel=batch["mel"][0, : int(batch.lengths["mel"][0])])
